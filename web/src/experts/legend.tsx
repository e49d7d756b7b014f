/** Legend of colours and marks. */
import { useRef } from 'preact/hooks'
import { loadColor } from '../palette.ts'
import { OVERLOADED_FROM } from './expert-load.ts'
import { useDisplay } from './heat-map/use-display.ts'

const ticks = [
  { octave: -3, text: '⅛×' },
  { octave: -2, text: '¼×' },
  { octave: 0, text: '1×' },
  { octave: 2, text: '4×' },
  { octave: 3, text: '8×' },
]

export function Legend() {
  const box = useRef<HTMLDivElement>(null)
  const dark = useDisplay(box)?.dark ?? false
  const stops = [-3, -2, -1, 0, 1, 2, 3].map((octave) => `rgb(${loadColor(2 ** octave, dark).join(' ')})`)
  return (
    <div class="legend">
      <span>tokens over the mean of the router</span>
      <div class="legend-scale" ref={box}>
        <div class="legend-bar" style={{ backgroundImage: `linear-gradient(to right, ${stops.join(', ')})` }} />
        {ticks.map(({ octave, text }) => (
          <span class="tick" key={octave} style={{ left: `${((octave + 3) / 6) * 100}%` }}>
            {text}
          </span>
        ))}
      </div>
      <span>
        <b aria-hidden="true">×</b> dead: no tokens
      </span>
      <span>
        <b aria-hidden="true">○</b> overloaded: {OVERLOADED_FROM}× or more before drops
      </span>
    </div>
  )
}
