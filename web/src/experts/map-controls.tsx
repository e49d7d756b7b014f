/** Controls of the heat maps of two trainings side by side: which map, of which layer, and its look. */
import { Segments } from '../controls/selection.tsx'
import { map } from './map-choice.ts'
import { LayerSelect, LoadAndOrder } from './routing-controls.tsx'

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
