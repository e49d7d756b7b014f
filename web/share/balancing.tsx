/**
 * The load of every expert while a model is trained, with a switch: with the balancing loss, and without it. The step
 * stays where it is when the switch moves, so that the two trainings can be compared.
 */
import { useSignal } from '@preact/signals'
import { useEffect, useMemo } from 'preact/hooks'
import { fixed, grouped, percent } from '../../src/core/text/numbers.ts'
import type { SharedRun } from '../../src/faces/watch/share/shared-run.ts'
import { Segments } from '../src/controls/selection.tsx'
import { loadOf } from '../src/experts/expert-load.ts'
import '../src/experts/experts.css'
import { LayerMap, TimeMap } from '../src/experts/load-maps.tsx'
import { Scrubber, togglePlaying } from '../src/experts/scrubber.tsx'
import { routerNames } from '../src/shared/router-names.ts'
import './balancing.css'
import { routerOf } from './maps.tsx'
import { type Replay, replayOf } from './replay.ts'

interface BalancingProps {
  readonly off: SharedRun
  readonly on: SharedRun
  /** Whether it plays at once, unless the visitor asked for less motion. */
  readonly plays?: boolean
}

export function Balancing({ off, on, plays = true }: BalancingProps) {
  const isOn = useSignal(false)
  const [without, with_] = useMemo(() => [replayOf(off), replayOf(on)] as const, [off, on])
  const replay = isOn.value ? with_ : without
  // The trainings have the same steps, and one step for both.
  useEffect(() => {
    if (plays && !matchMedia('(prefers-reduced-motion: reduce)').matches)
      togglePlaying(without.steps.value, without.at.value)
  }, [without, plays])
  return (
    <section class="experts balancing" aria-labelledby="balancing-title">
      <h2 id="balancing-title">Sixteen experts learn to share the work, or do not</h2>
      <p>
        A small language model is trained. In every layer a router sends each token of the text to one of 16 experts. A
        balancing loss asks it to use them all. Here it is off: switch it on, and compare. (The held-out losses of the
        two trainings hardly differ: what changes is which experts work.)
      </p>
      <div class="balancing-controls">
        <Segments
          label="Balancing loss"
          value={isOn.value ? 'on' : 'off'}
          options={[
            { value: 'off', text: 'off' },
            { value: 'on', text: 'on' },
          ]}
          pick={(value) => (isOn.value = value === 'on')}
        />
        <Scrubber steps={replay.steps} at={replay.at} ready={() => true} running={null} of={replay.run.index.of} />
      </div>
      <Caption replay={replay} isOn={isOn.value} />
      <Maps key={replay.run.name} replay={replay} />
      <p class="quiet">
        Two trainings of {grouped(replay.run.steps ?? 0)} steps on State of the Union addresses, the same but for the
        loss, each with the same seed. Recorded by <code>npx tsx bench/pages/routing.ts</code>. Your own training:{' '}
        <code>choir train demo --watch</code>
      </p>
    </section>
  )
}

function Maps({ replay }: { readonly replay: Replay }) {
  const { run, at, moveTo, choose } = replay
  const names = routerNames(run.index.routers)
  const router = routerOf(replay)
  const history = useMemo(() => replay.history(router), [replay, router])
  const info = run.index.routers[router]
  return (
    <div class="balancing-maps">
      <div>
        <h3>All layers at this step</h3>
        <p class="quiet">
          Rows are layers, columns their experts. Orange: more tokens than the fair share. Blue: fewer. A cross: none.
        </p>
        <LayerMap
          shown={replay.shown}
          index={run.index}
          names={names}
          selected={router}
          opened={replay.outlined.value}
          open={(row, expert) => choose(row, [expert])}
        />
      </div>
      {info && (
        <div>
          <h3>Layer {names[router]} over time</h3>
          <p class="quiet">Rows are the experts of the layer, columns are steps.</p>
          <TimeMap
            history={history}
            router={info}
            index={run.index}
            at={at}
            moveTo={moveTo}
            open={(expert) => choose(router, [expert])}
            opened={replay.outlined.value}
            legend={false}
          />
        </div>
      )}
    </div>
  )
}

/** The loads of the chosen layer at the current step, in words. */
function Caption({ replay, isOn }: { readonly replay: Replay; readonly isOn: boolean }) {
  const { run, step, shown } = replay
  const { routers, experts } = run.index
  const router = routerOf(replay)
  const loads = shown.value?.loads ?? new Float32Array()
  const all = Array.from({ length: routers[router]?.experts ?? 0 }, (_, expert) =>
    loadOf(loads, router * 2 * experts, experts, experts, expert),
  )
  const busiest = all.reduce((most, { share }, expert) => (share > (all[most]?.share ?? 0) ? expert : most), 0)
  const idle = all.filter(({ overMean }) => overMean < 0.1).length
  const last = run.heldOut.step.findLastIndex((at) => at <= step.value)
  return (
    <p class="balancing-caption">
      <b>
        Step {grouped(step.value)}, balancing {isOn ? 'on' : 'off'}.
      </b>{' '}
      Expert {busiest} of layer {routers[router]?.layer} gets {percent(all[busiest]?.share ?? 0)} of the tokens (a fair
      share is {percent(1 / all.length)}), and {idle} of {all.length} experts get less than a tenth of their fair share.
      {last >= 0 &&
        ` Held-out loss at step ${grouped(run.heldOut.step[last] ?? 0)}: ${fixed(run.heldOut.loss[last], 2)}.`}
    </p>
  )
}
