/** The routing of one run: heat map, time slider, lines of a router, and the panel of an opened expert. */

import { useComputed, useSignal } from '@preact/signals'
import { useEffect, useLayoutEffect } from 'preact/hooks'
import type { RoutingHistory, RoutingIndex, RunSummary } from '../../../src/faces/watch/api.ts'
import { getFloats, getJson } from '../shared/client.ts'
import { routerNames } from '../shared/router-names.ts'
import { useAnswer } from '../shared/use-answer.ts'
import { Icon } from '../shell/icon.tsx'
import { onKeys } from '../shell/shortcuts.tsx'
import { loadOf } from './expert-load.ts'
import { ExpertPanel } from './expert-panel.tsx'
import { LayerMap, TimeMap } from './load-maps.tsx'
import { snapshotAt } from './loads-loader.ts'
import { LayerSelect, RoutingControls } from './routing-controls.tsx'
import { Scrubber, togglePlaying, useSpace } from './scrubber.tsx'
import { RouterLines } from './sparkline.tsx'
import { useLoads } from './use-loads.ts'
import * as view from './view.ts'

interface RoutingProps {
  readonly run: RunSummary
  readonly runs: readonly RunSummary[]
  readonly index: RoutingIndex
}

/** What the training has found wrong with the routers of the run. */
function RouterFaults({ faults }: { readonly faults: readonly string[] }) {
  return (
    <div class="router-faults" role="status">
      <p>
        <Icon name="unreadable" /> {faults.length === 1 ? 'A router has gone wrong' : 'Routers have gone wrong'}
      </p>
      <ul>
        {faults.map((fault) => (
          <li key={fault}>{fault[0]?.toUpperCase() + fault.slice(1)}</li>
        ))}
      </ul>
    </div>
  )
}

export function Routing({ run, runs, index: newest }: RoutingProps) {
  const index = useSignal(newest)
  useLayoutEffect(() => {
    index.value = newest
  }, [newest])
  const steps = useComputed(() => index.value.steps)
  const at = useComputed(() => snapshotAt(steps.value, view.step()))
  const loads = useLoads(index, at)

  const router = Math.min(newest.routers.length - 1, view.router.value)
  const info = newest.routers[router]
  const expert = info && view.expert.value !== null && view.expert.value < info.experts ? view.expert.value : null
  // Data over time is requested again when snapshots are added or thinned out.
  const version = newest.generation * 1e6 + newest.of
  const history = useAnswer(`${run.id}:${router}`, version, (signal) =>
    getFloats('/api/routing/history', { run: run.id, router }, signal),
  )
  const summary = useAnswer(`${run.id}:${router}`, version, (signal) =>
    getJson<RoutingHistory>('/api/routing/summary', { run: run.id, router }, signal),
  )
  useSpace(() => togglePlaying(steps.value, at.value))
  useEffect(() => onKeys({ Escape: closeExpert }), [])

  const moveTo = (snapshot: number) => {
    view.playing.value = false
    view.moveTo(steps.value[snapshot] ?? 0)
  }
  const names = routerNames(newest.routers)
  const problem = loads.problem.value ?? history.problem ?? summary.problem
  return (
    <div class={expert === null ? 'experts' : 'experts experts-open'}>
      <RoutingControls run={run} runs={runs} />
      {problem !== null && (
        <p class="experts-problem bad" role="alert">
          {problem}
        </p>
      )}
      {run.routerFaults && <RouterFaults faults={run.routerFaults} />}
      <div class="experts-main">
        <section class="pane" aria-labelledby="now">
          <Scrubber steps={steps} at={at} ready={loads.ready} running={run.state === 'running'} of={newest.of} />
          <h2 id="now">Every expert at this step</h2>
          <LayerMap
            shown={loads.shown}
            index={newest}
            names={names}
            selected={router}
            opened={expert === null ? [] : [expert]}
            open={view.openExpert}
          />
        </section>
        {info && (
          <section class="pane over-time" aria-labelledby="over-time">
            <header>
              <h2 id="over-time">Layer {names[router]} over time</h2>
              {names.length > 1 && <LayerSelect names={names} router={router} />}
            </header>
            <TimeMap
              history={history.value}
              router={info}
              index={newest}
              at={at}
              moveTo={moveTo}
              open={(each) => view.openExpert(router, each)}
              legend={false}
              saved
            />
            {summary.value && (
              <div class="lines lines-aligned">
                <div>
                  <RouterLines history={summary.value} router={info} at={at} moveTo={moveTo} />
                </div>
              </div>
            )}
          </section>
        )}
      </div>
      {info && expert !== null && (
        <ExpertPanel
          run={run}
          router={router}
          info={info}
          expert={expert}
          load={
            loads.shown.value &&
            loadOf(loads.shown.value.loads, router * 2 * newest.experts, newest.experts, info.experts, expert)
          }
          step={steps.value[loads.shown.value?.snapshot ?? at.value] ?? 0}
          history={history.value}
          width={newest.experts}
          at={at}
          moveTo={moveTo}
          close={closeExpert}
          show={(each) => view.openExpert(router, each)}
        />
      )}
    </div>
  )
}

const closeExpert = (): void => {
  view.expert.value = null
}
