/** Lines over the snapshots that show how balanced one router is, and how sure of its choices. */
import type { ReadonlySignal } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import { percent } from '../../../src/core/text/numbers.ts'
import type { RouterInfo, RoutingHistory } from '../../../src/faces/watch/api.ts'
import { Sparkline } from './sparkline.tsx'

interface RouterLinesProps {
  readonly history: RoutingHistory
  readonly router: RouterInfo
  readonly at: ReadonlySignal<number>
  readonly moveTo: (snapshot: number) => void
}

const decimals = (value: number) => value.toFixed(2)

export function RouterLines({ history, router, at, moveTo }: RouterLinesProps) {
  const time = { at, moveTo }
  const experts = router.experts / router.prototypes
  const largest = Math.log(experts)
  const shares = useMemo(
    () => history.gate_entropy.map((nats) => (nats === null || largest === 0 ? null : nats / largest)),
    [history, largest],
  )
  return (
    <>
      <Sparkline
        title="Load c_v"
        hint="Coefficient of variation: standard deviation of tokens per expert over their mean, before drops and after. 0 is perfectly even."
        values={history.load_cv}
        after={history.load_cv_kept}
        format={decimals}
        {...time}
      />
      <Sparkline
        title="Drop rate"
        hint="Share of assignments dropped because their expert was full."
        values={history.drop_rate}
        format={percent}
        {...time}
      />
      <Sparkline
        title="Total gate"
        hint="Sum of the gates of a token's kept choices, averaged over tokens: the factor by which the output of its experts is scaled. 0 for a token that no expert computed."
        values={history.gate_mean}
        format={decimals}
        {...time}
      />
      <Sparkline
        title="Entropy share"
        hint={`Entropy of the router's distribution, averaged over tokens, over the largest possible, ln ${experts} = ${decimals(largest)} nats. Low: the router is sure of its choice. Near 100 % (the faint line): it prefers no expert.`}
        values={shares}
        reference={1}
        format={(share) => percent(share, 0)}
        {...time}
      />
      <Sparkline
        title="Dead experts"
        hint="Number of experts without a token."
        values={history.dead_experts}
        format={(experts) => String(experts)}
        {...time}
      />
      <Sparkline
        title="Largest load"
        hint="Load of the most loaded expert over the mean, before drops."
        values={history.max_over_mean}
        format={(times) => `${times.toFixed(1)}×`}
        {...time}
      />
    </>
  )
}
