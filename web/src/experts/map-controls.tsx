/** Controls of the heat maps of two trainings side by side: which map, of which layer, and its look. */

import { batch } from '@preact/signals'
import { Segments } from '../controls/selection.tsx'
import { inAddress, oneOf } from '../shared/view-state.ts'
import { LayerSelect, LoadAndOrder } from './routing-controls.tsx'
import { router } from './view.ts'

interface MapControlsProps {
  /** Names of the routers, and the index of the selected one. */
  readonly names: readonly string[]
  readonly router: number
}

export function MapControls({ names, router }: MapControlsProps) {
  return (
    <>
      <Segments
        label="View"
        value={map.value}
        pick={(value) => (map.value = value)}
        options={[
          { value: 'layers', text: 'Layers × experts' },
          { value: 'time', text: 'Experts over time' },
        ]}
      />
      <LayerSelect names={names} router={router} />
      <LoadAndOrder />
    </>
  )
}

const maps = ['layers', 'time'] as const
export const map = inAddress('map', oneOf(maps), 'layers', true)

/** Shows one router over time. */
export function openRouter(index: number): void {
  batch(() => {
    router.value = index
    map.value = 'time'
  })
}
