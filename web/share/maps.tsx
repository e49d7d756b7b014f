/** The heat maps: all experts at the current step, and one layer over time. */
import { useMemo } from 'preact/hooks'
import { percent } from '../../src/core/text/numbers.ts'
import { Select } from '../src/controls/selection.tsx'
import { LayerMap, TimeMap } from '../src/experts/load-maps.tsx'
import { Sparkline } from '../src/experts/sparkline.tsx'
import * as view from '../src/experts/view.ts'
import type { Replay } from './replay.ts'

interface MapsProps {
  readonly replay: Replay
  readonly names: readonly string[]
}

/** Index of the chosen router. */
export const routerOf = ({ run }: Replay): number => Math.min(run.index.routers.length - 1, view.router.value)

export function LayersNow({ replay, names }: MapsProps) {
  return (
    <section class="pane" aria-labelledby="now">
      <h2 id="now">Every expert at this step</h2>
      <p class="quiet">
        Rows are layers, columns their experts. Orange: more tokens than the fair share, which is 1. Blue: fewer. A
        cross: none at all.
      </p>
      <LayerMap
        shown={replay.shown}
        index={replay.run.index}
        names={names}
        selected={routerOf(replay)}
        opened={replay.outlined.value}
        open={(router, expert) => replay.choose(router, [expert])}
      />
    </section>
  )
}

export function OneLayer({ replay, names }: MapsProps) {
  const router = routerOf(replay)
  const { run, at, moveTo } = replay
  const info = run.index.routers[router]
  const history = useMemo(() => replay.history(router), [replay, router])
  if (!info) return null
  return (
    <section class="pane" aria-labelledby="over-time">
      <h2 id="over-time">One layer over time</h2>
      <p class="quiet">
        Rows are the experts of this layer, columns are snapshots; the colours are the same. The line is the step above.
      </p>
      <div class="experts-controls">
        <Select
          label="Layer"
          value={String(router)}
          options={names.map((text, value) => ({ value: String(value), text }))}
          pick={(value) => replay.choose(Number(value))}
        />
      </div>
      <TimeMap
        history={history}
        router={info}
        index={run.index}
        at={at}
        moveTo={moveTo}
        open={(expert) => replay.choose(router, [expert])}
        opened={replay.outlined.value}
        legend={false}
      />
      <div class="lines lines-aligned">
        <div>
          <Sparkline
            title="Drop rate"
            hint="Share of the choices that experts refused because they were full."
            values={run.dropRates[router] ?? []}
            format={percent}
            at={at}
            moveTo={moveTo}
          />
        </div>
      </div>
      <p class="quiet">Drop rate: the share of choices that experts refused because they were full. Lower is better.</p>
    </section>
  )
}
