/** The moments of the run, each a button that jumps there. */
import { grouped } from '../../src/core/text/numbers.ts'
import type { Replay } from './replay.ts'

export function Moments({ replay }: { readonly replay: Replay }) {
  const { run, step, chosen, jumpTo } = replay
  return (
    <nav class="share-moments" aria-labelledby="moments">
      <h2 id="moments">Moments</h2>
      {run.moments.length === 0 ? (
        <p class="quiet">
          Nothing notable by the rules at the end of this page. Loads may differ all the same: the maps show them.
        </p>
      ) : (
        <ol>
          {run.moments.map((moment) => (
            <li key={`${moment.step} ${moment.text}`}>
              <button
                type="button"
                aria-pressed={chosen.value === moment}
                data-past={moment.step <= step.value ? '' : undefined}
                data-kind={moment.kind}
                onClick={() => jumpTo(moment)}
              >
                <small>step {grouped(moment.step)}</small>
                <b>{moment.text}</b>
                <span>{moment.detail}</span>
              </button>
            </li>
          ))}
        </ol>
      )}
    </nav>
  )
}
