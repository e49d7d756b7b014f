/** Values at the pointer: those of the nearest lines, in the order in which the lines lie. */
import { measured, none } from '../numbers.ts'
import { Swatch } from '../runs/swatch.tsx'
import { type Line, nearest, type Range } from './lines.ts'

export interface HoverPlace {
  readonly x: number
  readonly y: number
  readonly left: number
  readonly top: number
}

interface Reading {
  readonly line: Line
  readonly index: number
  readonly value: number
}

const most = 12

/** A line counts up to a little beyond its ends, where its last value is still the nearest thing to know. */
export function readings(lines: readonly Line[], { x, y }: HoverPlace, range: Range, log: boolean): readonly Reading[] {
  const slack = 0.02 * (range.max - range.min)
  const found: Reading[] = []
  for (const line of lines) {
    const index = nearest(line.x, x)
    const value = line.y[index]
    const [start = Number.POSITIVE_INFINITY, end = Number.NEGATIVE_INFINITY] = [line.x[0], line.x.at(-1)]
    if (value === null || value === undefined || x < start - slack || x > end + slack) continue
    if (log && value <= 0) continue
    found.push({ line, index, value })
  }
  const away = ({ value }: Reading) => Math.abs(log ? Math.log(value / y) : value - y)
  const near = found.sort((one, other) => away(one) - away(other)).slice(0, most)
  return near.sort((one, other) => other.value - one.value)
}

interface TooltipProps {
  readonly place: HoverPlace
  readonly title: string
  readonly readings: readonly Reading[]
  readonly log: boolean
  /** Lines in all. */
  readonly of: number
  /** Of the plot: the tip stays within it from side to side. */
  readonly width: number
}

export function Tooltip({ place, title, readings: shown, log, of, width }: TooltipProps) {
  const away = (value: number) => Math.abs(log ? Math.log(value / place.y) : value - place.y)
  const closest = shown.reduce<Reading | null>(
    (best, each) => (best === null || away(each.value) < away(best.value) ? each : best),
    null,
  )
  const side = place.left > width / 2 ? { right: `${width - place.left + 12}px` } : { left: `${place.left + 12}px` }
  return (
    <div class="tip" style={{ ...side, top: '8px' }} aria-hidden="true">
      <table>
        <caption>{title}</caption>
        <tbody>
          {shown.map((reading) => (
            <tr key={reading.line.run} class={reading === closest ? 'closest' : ''}>
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

/** The range of the seeds, or the value before it was smoothed. */
function aside({ line: { band, raw }, index }: Reading): string {
  if (band) return `${measured(band.low[index])} to ${measured(band.high[index])} (${band.count[index] ?? 0})`
  if (raw) return raw[index] === null ? none : measured(raw[index])
  return ''
}
