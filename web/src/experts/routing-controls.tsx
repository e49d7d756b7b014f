/** The controls of heat maps: run, layer, loads and order. */
import type { RunSummary } from '../../../src/faces/watch/api.ts'
import { Segments, Select } from '../controls/selection.tsx'
import * as view from './view.ts'

interface RoutingControlsProps {
  readonly run: RunSummary
  readonly runs: readonly RunSummary[]
}

export function RoutingControls({ run, runs }: RoutingControlsProps) {
  return (
    <div class="experts-controls">
      <Select
        label="Run"
        value={run.id}
        options={runs.map(({ id, name }) => ({ value: id, text: name }))}
        pick={view.openRun}
      />
      <LoadAndOrder />
    </div>
  )
}

interface LayerSelectProps {
  /** Names of the routers, and the index of the selected one. */
  readonly names: readonly string[]
  readonly router: number
}

export function LayerSelect({ names, router }: LayerSelectProps) {
  return (
    <Select
      label="Layer"
      value={String(router)}
      options={names.map((text, value) => ({ value: String(value), text }))}
      pick={(value) => (view.router.value = Number(value))}
    />
  )
}

/** Which loads the maps show, and in which order they show experts. */
export function LoadAndOrder() {
  return (
    <>
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
            hint: 'Most loaded first: at one step in each layer, and over time over all snapshots',
          },
          { value: 'prototype', text: 'Prototype', hint: 'Grouped by prototype, most loaded first in each' },
        ]}
      />
    </>
  )
}
