/** Values at the pointer: those of the nearest lines, in the order in which the lines lie. */
import { dash } from '../../../src/text/numbers.ts'
import { measured } from '../measured.ts'
import { Swatch } from '../runs/swatch.tsx'
import type { HoverPlace, Reading } from './series/readings.ts'

interface TooltipProps {
  readonly place: HoverPlace
  readonly title: string
  readonly readings: readonly Reading[]
  /** Lines in all. */
  readonly of: number
}

export function Tooltip({ place, title, readings: shown, of }: TooltipProps) {
  return (
    <div class="tip" style={beside(place)} aria-hidden="true">
      <table>
        <caption>{title}</caption>
        <tbody>
          {shown.map((reading) => (
            <tr key={reading.line.run} class={reading.closest ? 'closest' : ''}>
              <td>
                <Swatch run={reading.line.run} style={reading.line.style} />
              </td>
              <th scope="row">{reading.line.name}</th>
              <td>{measured(reading.value)}</td>
              <td class="quiet">{aside(reading)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {of > shown.length && (
        <p class="quiet">
          nearest {shown.length} of {of}
        </p>
      )}
    </div>
  )
}

/** Room that it may need. */
const WIDTH = 400
const GAP = 14

/** On the side of the pointer where there is room in the window; it may leave the card. */
function beside({ left, top }: HoverPlace) {
  if (left + GAP + WIDTH <= innerWidth) return { top: `${top}px`, left: `${left + GAP}px` }
  if (left - GAP - WIDTH >= 0) return { top: `${top}px`, right: `${innerWidth - left + GAP}px` }
  return { top: `${top}px`, [left < innerWidth / 2 ? 'right' : 'left']: '6px' }
}

/** The range of the seeds, or the value before it was smoothed. */
function aside({ line: { band, raw }, index }: Reading): string {
  if (band) return `${measured(band.low[index])} to ${measured(band.high[index])} (${band.count[index] ?? 0})`
  if (raw) return raw[index] === null ? dash : measured(raw[index])
  return ''
}
