/** Values of the lines nearest to the pointer, from the upper to the lower. */
import { dash } from '../../../src/core/text/numbers.ts'
import type { XAxis } from '../../../src/faces/watch/api.ts'
import { Name } from '../runs/name.tsx'
import { Swatch } from '../runs/swatch.tsx'
import { formatValue } from '../shared/format-value.ts'
import type { HoverPoint, Reading } from './drawing/lines.ts'
import { axisTitles, exactXText } from './drawing/ticks.ts'

interface TooltipProps {
  readonly place: HoverPoint
  readonly axis: XAxis
  readonly readings: readonly Reading[]
  /** Number of all lines. */
  readonly of: number
}

export function Tooltip({ place, axis, readings: shown, of }: TooltipProps) {
  // The title is where the closest line has its value. Lines that are recorded elsewhere say where.
  const title = exactXText(axis, shown.find(({ closest }) => closest)?.x ?? place.x)
  const placeOf = ({ x }: Reading) => {
    const text = exactXText(axis, x)
    return text === title ? '' : text
  }
  const differ = shown.some((reading) => placeOf(reading) !== '')
  return (
    <div class="tip" style={positionNear(place)} aria-hidden="true">
      <table>
        <caption>
          {axisTitles[axis]} {title}
        </caption>
        <tbody>
          {shown.map((reading) => (
            <tr key={reading.line.run} class={reading.closest ? 'closest' : ''}>
              <td>
                <Swatch run={reading.line.run} style={reading.line.style} />
              </td>
              <th scope="row">
                <Name name={reading.line.name} />
              </th>
              <td>{formatValue(reading.value)}</td>
              <td class="quiet">{detailOf(reading)}</td>
              {differ && <td class="quiet">{placeOf(reading)}</td>}
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

/** Width that the tooltip may need, in pixels. */
const WIDTH = 460
const GAP = 14

/** Places the tooltip on the side of the pointer where the window has room; it may extend beyond the card. */
function positionNear({ left, top }: HoverPoint) {
  if (left + GAP + WIDTH <= innerWidth) return { top: `${top}px`, left: `${left + GAP}px` }
  if (left - GAP - WIDTH >= 0) return { top: `${top}px`, right: `${innerWidth - left + GAP}px` }
  return { top: `${top}px`, [left < innerWidth / 2 ? 'right' : 'left']: '6px' }
}

/** The range over seeds, or the value before smoothing. */
function detailOf({ line: { band, raw }, index }: Reading): string {
  if (band) return `${formatValue(band.low[index])} to ${formatValue(band.high[index])} (${band.count[index] ?? 0})`
  if (raw) return raw[index] === null ? dash : formatValue(raw[index])
  return ''
}
