/** The controls of the experts page: run, view, layer, loads and order. */
import type { RunSummary } from '../../../src/faces/watch/api.ts'
import { Segments, Select } from '../controls/selection.tsx'
import * as view from './view.ts'

interface RoutingControlsProps {
  readonly run: RunSummary
  readonly runs: readonly RunSummary[]
  /** Names of the routers, and the index of the selected one. */
  readonly names: readonly string[]
  readonly router: number
}

export function RoutingControls({ run, runs, names, router }: RoutingControlsProps) {
  return (
    <div class="experts-controls">
      <Select
        label="Run"
        value={run.id}
        options={runs.map(({ id, name }) => ({ value: id, text: name }))}
        pick={view.openRun}
      />
      <MapControls names={names} router={router} />
    </div>
  )
}

/** Controls that select a heat map and its look. */
export function MapControls({ names, router }: Pick<RoutingControlsProps, 'names' | 'router'>) {
  return (
    <>
      <Segments
        label="View"
        value={view.map.value}
        pick={(value) => (view.map.value = value)}
        options={[
          { value: 'layers', text: 'Layers × experts' },
          { value: 'time', text: 'Experts over time' },
        ]}
      />
      <Select
        label="Layer"
        value={String(router)}
        options={names.map((text, value) => ({ value: String(value), text }))}
        pick={(value) => (view.router.value = Number(value))}
      />
      <Segments
        label="Load"
        value={view.loadKind.value}
        pick={(value) => (view.loadKind.value = value)}
        options={[
          { value: 'before', text: 'Before drops' },
          { value: 'after', text: 'After', hint: 'Kept tokens, over the mean before drops' },
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
            hint:
              view.map.value === 'time' ? 'Most loaded over all snapshots first' : 'Most loaded first, in each layer',
          },
          { value: 'prototype', text: 'Prototype', hint: 'Grouped by prototype, most loaded first in each' },
        ]}
      />
    </>
  )
}
