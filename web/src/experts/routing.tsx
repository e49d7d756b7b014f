/** The routing of one run: its heat map, time, the lines of a router, and an expert that was opened. */
import { useComputed, useSignal } from '@preact/signals'
import { useEffect, useLayoutEffect } from 'preact/hooks'
import type { RoutingHistory, RoutingIndex, RunSummary } from '../../../src/watch/api.ts'
import { getFloats, getJson } from '../client.ts'
import { Pick, Segments } from '../controls/segments.tsx'
import { onKeys } from '../shell/shortcuts.tsx'
import { useAnswer } from '../use-answer.ts'
import { loadOf } from './balance.ts'
import { ExpertPanel } from './expert-panel.tsx'
import { routerNames } from './heat-map/order.ts'
import { TimeMap } from './heat-map/time-map.tsx'
import { LayerMap } from './layer-map.tsx'
import { Legend } from './legend.tsx'
import { snapshotAt } from './loads/snapshot-at.ts'
import { useLoads } from './loads/use-loads.ts'
import { RouterLines } from './router-lines.tsx'
import { Scrubber, togglePlaying } from './scrubber.tsx'
import * as view from './view.ts'

interface RoutingProps {
  readonly run: RunSummary
  /** Among which another can be chosen. */
  readonly runs: readonly RunSummary[]
  readonly index: RoutingIndex
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
  const overTime = view.map.value === 'time'
  // Thinned out or longer: what is drawn over time is asked for again.
  const version = newest.generation * 1e6 + newest.of
  const history = useAnswer(overTime || expert !== null ? `${run.id}:${router}` : null, version, (signal) =>
    getFloats('/api/routing/history', { run: run.id, router }, signal),
  )
  const summary = useAnswer(`${run.id}:${router}`, version, (signal) =>
    getJson<RoutingHistory>('/api/routing/summary', { run: run.id, router }, signal),
  )
  useSpace(() => togglePlaying(steps.value, at.value))
  useEffect(() => onKeys({ Escape: () => (view.expert.value = null) }), [])

  const moveTo = (snapshot: number) => {
    view.playing.value = false
    view.moveTo(steps.value[snapshot] ?? 0)
  }
  const names = routerNames(newest.routers)
  const failed = loads.problem.value ?? history.problem ?? summary.problem
  return (
    <div class={expert === null ? 'experts' : 'experts experts-open'}>
      <div class="experts-controls">
        <Pick
          label="Run"
          value={run.id}
          options={runs.map(({ id, name }) => ({ value: id, text: name }))}
          pick={view.openRun}
        />
        <Segments
          label="View"
          value={view.map.value}
          pick={(value) => (view.map.value = value)}
          options={[
            { value: 'layers', text: 'Layers × experts' },
            { value: 'time', text: 'Experts over time' },
          ]}
        />
        <Pick
          label="Layer"
          value={String(router)}
          options={names.map((text, value) => ({ value: String(value), text }))}
          pick={(value) => {
            view.router.value = Number(value)
          }}
        />
        <Segments
          label="Load"
          value={view.loadKind.value}
          pick={(value) => (view.loadKind.value = value)}
          options={[
            { value: 'before', text: 'Before drops' },
            { value: 'after', text: 'After', hint: 'What was kept, over the mean of before' },
          ]}
        />
        <Segments
          label="Order"
          value={view.order.value}
          pick={(value) => (view.order.value = value)}
          options={[
            { value: 'number', text: 'Number' },
            {
              value: 'load',
              text: 'Load',
              hint: overTime ? 'Most loaded over all snapshots first' : 'Each layer by itself, most loaded first',
            },
            { value: 'prototype', text: 'Prototype', hint: 'Parted by prototype; in each, most loaded first' },
          ]}
        />
      </div>
      {failed !== null && (
        <p class="experts-problem" role="alert">
          {failed}
        </p>
      )}
      <div class="experts-main">
        <section class="pane">
          <Scrubber
            steps={steps}
            at={at}
            ready={(snapshot) => overTime || loads.ready(snapshot)}
            running={run.state === 'running'}
            of={newest.of}
          />
          {overTime && info ? (
            <TimeMap
              history={history.value}
              router={info}
              index={newest}
              at={at}
              moveTo={moveTo}
              open={(each) => view.openExpert(router, each)}
            />
          ) : (
            <LayerMap
              shown={loads.shown}
              index={newest}
              names={names}
              selected={router}
              opened={expert}
              open={view.openExpert}
            />
          )}
          <Legend />
        </section>
        <section
          class={overTime ? 'pane lines lines-aligned' : 'pane lines'}
          aria-label={`Balance of layer ${names[router]}`}
        >
          {!overTime && <h2>Layer {names[router]} over time</h2>}
          {summary.value && (
            <div>
              <RouterLines history={summary.value} at={at} moveTo={moveTo} />
            </div>
          )}
        </section>
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
          close={() => {
            view.expert.value = null
          }}
          turnTo={(each) => view.openExpert(router, each)}
        />
      )}
    </div>
  )
}

/** The space bar, where it means nothing else. */
function useSpace(act: () => void): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement
      const free =
        target instanceof HTMLInputElement
          ? target.type === 'range'
          : !target.closest('button, select, textarea, a, dialog')
      if (event.key !== ' ' || !free || event.defaultPrevented) return
      event.preventDefault()
      act()
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [])
}
