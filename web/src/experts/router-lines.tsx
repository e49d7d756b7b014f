/** How balanced one router is, over the snapshots. */
import type { ReadonlySignal } from '@preact/signals'
import { percent } from '../../../src/text/numbers.ts'
import type { RoutingHistory } from '../../../src/watch/api.ts'
import { Line } from './line.tsx'

interface RouterLinesProps {
  readonly history: RoutingHistory
  readonly at: ReadonlySignal<number>
  readonly moveTo: (snapshot: number) => void
}

const decimals = (value: number) => value.toFixed(2)

export function RouterLines({ history, at, moveTo }: RouterLinesProps) {
  const place = { at, moveTo }
  return (
    <>
      <Line
        title="Load c_v"
        hint="Standard deviation of tokens per expert over their mean, before drops and after. 0: perfectly even."
        values={history.load_cv}
        after={history.load_cv_kept}
        show={decimals}
        {...place}
      />
      <Line
        title="Drop rate"
        hint="Share of assignments that found their expert full."
        values={history.drop_rate}
        show={percent}
        {...place}
      />
      <Line
        title="Gate entropy"
        hint="Of the router's distribution, mean over tokens, in nats. Low: the router is sure of its choice."
        values={history.gate_entropy}
        show={(nats) => `${decimals(nats)} nats`}
        {...place}
      />
      <Line
        title="Dead experts"
        hint="Experts without a token."
        values={history.dead_experts}
        show={(experts) => String(experts)}
        {...place}
      />
      <Line
        title="Largest load"
        hint="Of the most loaded expert, over the mean, before drops."
        values={history.max_over_mean}
        show={(times) => `${times.toFixed(1)}×`}
        {...place}
      />
    </>
  )
}
