/** One expert: its load now and over time, and its most frequent tokens. */
import type { ReadonlySignal } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import { grouped, percent } from '../../../src/core/text/numbers.ts'
import type {
  RouterInfo,
  RunSummary,
  TopTokens as TopTokensAnswer,
  TopTokensRequest,
} from '../../../src/faces/watch/api.ts'
import { Message } from '../controls/message.tsx'
import { postJson } from '../shared/client.ts'
import { useAnswer } from '../shared/use-answer.ts'
import { piecesOf } from '../tokens/pieces.ts'
import { type Load, loadOf } from './expert-load.ts'
import { Sparkline } from './sparkline.tsx'

interface ExpertPanelProps {
  readonly run: RunSummary
  readonly router: number
  readonly info: RouterInfo
  readonly expert: number
  /** Load at the shown snapshot; null while it is loading. */
  readonly load: Load | null
  readonly step: number
  /** Loads of the router, of shape [snapshots][2][width]; null while they are loading. */
  readonly history: Float32Array | null
  readonly width: number
  readonly at: ReadonlySignal<number>
  readonly moveTo: (snapshot: number) => void
  readonly close: () => void
  readonly show: (expert: number) => void
}

export function ExpertPanel(props: ExpertPanelProps) {
  const { run, router, info, expert, load, step, history, width, at, moveTo, close, show } = props
  const lines = useMemo(() => linesOf(history, info.experts, width, expert), [history, info, width, expert])
  return (
    <section class="expert pane" aria-label={`Expert ${expert} of layer ${info.layer}`}>
      <header>
        <h2>
          Expert {expert}
          <small>
            layer {info.layer}
            {info.module !== 'ffn' && ` ${info.module}`}
            {info.prototypes > 1 && `, prototype ${Math.floor(expert / (info.experts / info.prototypes))}`}
          </small>
        </h2>
        <button type="button" aria-label="Previous expert" disabled={expert === 0} onClick={() => show(expert - 1)}>
          ‹
        </button>
        <button
          type="button"
          aria-label="Next expert"
          disabled={expert >= info.experts - 1}
          onClick={() => show(expert + 1)}
        >
          ›
        </button>
        <button type="button" aria-label="Close" onClick={close}>
          ✕
        </button>
      </header>
      <Facts load={load} step={step} />
      {lines && (
        <Sparkline
          title="Load over mean"
          hint="Tokens over the mean of the router, before drops and after. The faint line is the mean."
          values={lines.before}
          after={lines.kept}
          reference={1}
          format={(times) => `${times.toFixed(2)}×`}
          at={at}
          moveTo={moveTo}
        />
      )}
      <h3>Top tokens</h3>
      <TopTokens run={run} router={router} expert={expert} />
    </section>
  )
}

export function Facts({ load, step }: { readonly load: Load | null; readonly step: number }) {
  if (!load) return null
  return (
    <dl class="facts">
      <dt>Step</dt>
      <dd>{grouped(step)}</dd>
      <dt>Tokens</dt>
      <dd>
        {grouped(load.tokens)} <span>{percent(load.share)} of all</span>
      </dd>
      <dt>Over the mean</dt>
      <dd>{load.tokens === 0 ? 'dead' : `${load.overMean.toFixed(2)}×`}</dd>
      <dt>Kept</dt>
      <dd>
        {grouped(load.kept)} <span>{load.keptOverMean.toFixed(2)}×</span>
      </dd>
      <dt>Dropped</dt>
      <dd>{percent(load.dropRate)}</dd>
    </dl>
  )
}

function linesOf(history: Float32Array | null, experts: number, width: number, expert: number) {
  if (!history) return null
  const snapshots = Math.floor(history.length / (2 * width))
  const loads = Array.from({ length: snapshots }, (_, t) => loadOf(history, t * 2 * width, width, experts, expert))
  return { before: loads.map(({ overMean }) => overMean), kept: loads.map(({ keptOverMean }) => keptOverMean) }
}

interface TopTokensProps {
  readonly run: RunSummary
  readonly router: number
  readonly expert: number
}

function TopTokens({ run, router, expert }: TopTokensProps) {
  const key = run.traceable ? `${run.id}:${router}:${expert}` : null
  const { value, problem } = useAnswer(key, run.checkpoint, (signal) =>
    postJson<TopTokensAnswer>('/api/top-tokens', { run: run.id, router, expert } satisfies TopTokensRequest, signal),
  )
  if (!run.traceable)
    return (
      <Message title="No checkpoint yet">
        Tokens are routed with the weights of a checkpoint. The first one is written after{' '}
        <code>train.checkpointEvery</code> steps, or when the run ends.
      </Message>
    )
  if (problem !== null)
    return (
      <Message bad title="The tokens could not be computed">
        {problem}
      </Message>
    )
  if (value === null) return <Message title="Routing held-out text…" />
  if (value.tokens.length === 0)
    return <Message title="No tokens came here">None of {grouped(value.looked)} tokens chose this expert.</Message>
  const maxCount = value.tokens[0]?.count ?? 1
  return (
    <>
      <p class="quiet">
        At step {grouped(value.step)}, {grouped(value.assigned)} assignments came here, of {grouped(value.looked)}{' '}
        tokens of held-out text (text that is not trained on).
      </p>
      <table class="top-tokens">
        <thead>
          <tr>
            <th scope="col">Token</th>
            <th scope="col">Count</th>
            <th scope="col" title="Share of all occurrences of the token that came to this expert">
              Share
            </th>
            <th
              scope="col"
              title="How many times more often this token comes here than tokens in general. 1: the expert has no preference for it."
            >
              Lift
            </th>
          </tr>
        </thead>
        <tbody>
          {value.tokens.map(({ token, count, share, lift }) => (
            <tr key={token}>
              <th scope="row">
                <code>
                  {piecesOf(token).map(({ text, sign }, index) => (
                    <span key={index} class={sign ? 'sign' : ''}>
                      {text === ' ' ? '␣' : text.replace('\n', '')}
                    </span>
                  ))}
                </code>
              </th>
              <td>
                <i class="bar" style={{ width: `${(100 * count) / maxCount}%` }} />
                <span>{grouped(count)}</span>
              </td>
              <td>
                <i class="bar" style={{ width: `${100 * share}%` }} />
                <span>{percent(share)}</span>
              </td>
              <td>{lift.toFixed(1)}×</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  )
}
