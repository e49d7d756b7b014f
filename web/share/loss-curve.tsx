/** The held-out loss over the steps, drawn as in the dashboard, with a line at the current step. */
import { useMemo } from 'preact/hooks'
import { fixed, grouped } from '../../src/core/text/numbers.ts'
import type { SharedRun } from '../../src/faces/watch/share/shared-run.ts'
import { Chart } from '../src/curves/chart.tsx'
import '../src/curves/curves.css'
import type { Figure } from '../src/curves/drawing/figure.ts'
import { rangeOfX, rangeOfY } from '../src/curves/drawing/lines.ts'
import { visibleX } from '../src/curves/settings.ts'
import { assignStyles } from '../src/shared/line-styles.ts'
import { scheme } from '../src/shell/theme.ts'
import type { Replay } from './replay.ts'

export function LossCurve({ replay }: { readonly replay: Replay }) {
  const { run } = replay
  const { heldOut, heldOutPart } = run
  const step = replay.step.value
  const base = useMemo(() => figureOf(run), [run, scheme.value])
  const figure = useMemo(() => base && zoomed({ ...base, mark: step }), [base, step, ...visible()])
  const last = heldOut.step.findLastIndex((at) => at <= step)
  return (
    <section class="pane" aria-labelledby="loss">
      <h2 id="loss">Held-out loss</h2>
      {figure ? (
        <>
          <p class="quiet">
            How badly the model predicts text that it is not trained on, in nats a token (up) over training steps
            (across). Lower is better.
            {heldOutPart !== null && ` Measured on ${grouped(heldOutPart)} tokens of that text.`}
          </p>
          <div class="share-chart">
            <Chart figure={figure} />
          </div>
          <p class="share-value">
            {last < 0
              ? `The first measurement is at step ${grouped(heldOut.step[0] ?? 0)}.`
              : `${fixed(heldOut.loss[last], 3)} nats a token at step ${grouped(heldOut.step[last] ?? 0)}`}
          </p>
        </>
      ) : (
        <p class="quiet">The run has no evaluation on held-out text (train.evalEvery).</p>
      )}
    </section>
  )
}

function visible(): (number | undefined)[] {
  const range = visibleX({ min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY })
  return [range?.min, range?.max]
}

function figureOf({ name, heldOut }: SharedRun): Figure | null {
  const style = assignStyles([{ id: name, created: 0 }], scheme.value).get(name)
  if (!style || heldOut.step.length === 0) return null
  const lines = [{ run: name, name, style, x: heldOut.step, y: heldOut.loss }]
  const x = rangeOfX(lines)
  const y = x && rangeOfY(lines, x, false)
  return x && y ? { metric: 'eval/loss', axis: 'step', lines, x, y, log: false } : null
}

function zoomed(figure: Figure): Figure {
  const x = visibleX(figure.x)
  const y = x && rangeOfY(figure.lines, x, figure.log)
  return x && y ? { ...figure, x, y } : figure
}
