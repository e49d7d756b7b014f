/** Legend of colours and marks, with the choice of the scale. */
import { useRef } from 'preact/hooks'
import { diverging } from '../../../src/core/charts/palette.ts'
import { Select } from '../controls/selection.tsx'
import { OVERLOADED_FROM } from './expert-load.ts'
import { scaleEnds } from './scale.ts'
import { useDisplay } from './use-display.ts'
import * as view from './view.ts'

/** @param end Load over mean at the end of the scale */
export function Legend({ end }: { readonly end: number }) {
  const box = useRef<HTMLDivElement>(null)
  const dark = useDisplay(box)?.dark ?? false
  const stops = diverging[dark ? 'dark' : 'light']
  const ticks = [`≤ ${Number((1 / end).toPrecision(2))}×`, '1×', `≥ ${end}×`]
  return (
    <div class="legend">
      <span title="The load of an expert over the mean load of its router">tokens over mean</span>
      <div class="legend-scale" ref={box}>
        <div class="legend-bar" style={{ backgroundImage: `linear-gradient(to right, ${stops.join(', ')})` }} />
        {ticks.map((text, index) => (
          <span class="tick" key={text} style={{ left: `${50 * index}%` }}>
            {text}
          </span>
        ))}
      </div>
      <Select
        label="Scale"
        value={view.scale.value}
        options={[
          { value: 'auto', text: 'fits the loads' },
          ...scaleEnds.map((each) => ({ value: String(each), text: `to ${each}×` })),
        ]}
        pick={(value) => (view.scale.value = view.scales.find((each) => each === value) ?? 'auto')}
      />
      <span>
        <b aria-hidden="true">×</b> dead: no tokens
      </span>
      <span>
        <b aria-hidden="true">○</b> overloaded: {OVERLOADED_FROM}× or more before drops
      </span>
    </div>
  )
}
