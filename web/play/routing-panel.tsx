/** The loads of the experts of both sides: the heat maps and lines of the dashboard, at the same step. */
import { useComputed } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import { grouped } from '../../src/core/text/numbers.ts'
import type { RoutingIndex } from '../../src/faces/watch/api.ts'
import { Message } from '../src/controls/message.tsx'
import { snapshotAt } from '../src/experts/loads-loader.ts'
import '../src/experts/experts.css'
import { LayerMap, TimeMap } from '../src/experts/load-maps.tsx'
import { MapControls, map, openRouter } from '../src/experts/map-controls.tsx'
import { RouterLines } from '../src/experts/sparkline.tsx'
import type { ShownLoads } from '../src/experts/use-loads.ts'
import * as view from '../src/experts/view.ts'
import { routerNames } from '../src/shared/router-names.ts'
import type { LiveRun } from './live-run.ts'
import { commonStep, nameOf, openSides, runs } from './session.ts'

export function RoutingPanel() {
  const indices = openSides.value.map((side) => runs[side].routing.value).filter((index) => index !== undefined)
  const [first] = indices
  const step = view.step()
  return (
    <section class="pane experts experts-pane" aria-label="Experts">
      {first && (
        <div class="experts-controls">
          <MapControls names={routerNames(first.routers)} router={routerIn(first)} />
          {step !== null && (
            <button type="button" onClick={view.toNewest}>
              Step {grouped(step)}: back to now
            </button>
          )}
        </div>
      )}
      <div class="sides">
        {openSides.value.map((side) => (
          <SideMap key={side} run={runs[side]} />
        ))}
      </div>
    </section>
  )
}

/** Index of the router that is shown over time. A model may have fewer routers than the chosen index needs. */
const routerIn = (index: RoutingIndex): number => Math.min(index.routers.length - 1, view.router.value)

function SideMap({ run }: { readonly run: LiveRun }) {
  const index = run.routing.value
  const isDense = run.opened.value?.config.model.moe === null
  return (
    <section aria-label={`Experts of ${run.side}`}>
      <h2>{nameOf(run.side)}</h2>
      {index ? (
        <Maps run={run} index={index} />
      ) : (
        <Message title={isDense ? 'A dense model has no experts' : 'No step yet'} />
      )}
    </section>
  )
}

function Maps({ run, index }: { readonly run: LiveRun; readonly index: RoutingIndex }) {
  const names = routerNames(index.routers)
  const router = routerIn(index)
  const info = index.routers[router]
  // The maps of both sides show the same step, also the newest one.
  const at = useComputed(() => snapshotAt(run.routing.value?.steps ?? [], view.step() ?? commonStep.value))
  const shown = useComputed<ShownLoads | null>(() => {
    void run.version.value
    const snapshot = at.value
    return snapshot < 0 ? null : { snapshot, loads: run.snapshots.loads(snapshot, snapshot + 1) }
  })
  const version = run.version.value
  const overTime = map.value === 'time'
  const history = useMemo(() => (overTime ? run.snapshots.history(router) : null), [overTime, router, version])
  const summary = useMemo(() => run.snapshots.summary(router), [router, version])
  const moveTo = (snapshot: number) => view.moveTo(index.steps[snapshot] ?? 0)
  return (
    <>
      {overTime && info ? (
        <TimeMap history={history} router={info} index={index} at={at} moveTo={moveTo} open={() => undefined} />
      ) : (
        <LayerMap
          shown={shown}
          index={index}
          names={names}
          selected={router}
          opened={[]}
          open={openRouter}
          openRow={openRouter}
        />
      )}
      <div class="lines">
        <p class="quiet">Layer {names[router]} over time</p>
        <div>{info && <RouterLines history={summary} router={info} at={at} moveTo={moveTo} />}</div>
      </div>
    </>
  )
}
