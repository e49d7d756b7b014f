/** Contents of a line figure: bands, curves, marks, and names at the ends of curves. */
import { area, line } from 'd3-shape'
import type { LineFigure } from '../blocks.ts'
import { type Child, element } from '../markup.ts'
import { letters, type Plane } from './axes.ts'
import { spreadOut } from './labels.ts'
import { type Entry, mark, sample, sampleWidth } from './legend.ts'
import { markOf } from './marks.ts'
import { titleIfCut, truncate } from './text.ts'

/** A point of a line in pixels. */
interface Spot {
  readonly x: number
  readonly y: number
}

/** A series with its position in a plane. An undefined spot interrupts the line. */
export interface PlacedSeries extends Entry {
  readonly series: LineFigure['series'][number]
  readonly spots: readonly (Spot | undefined)[]
  readonly end: Spot | undefined
}

/** Height of a name at the end of a curve. */
export const LABEL_HEIGHT = 16

const FEW_BANDS = 4

/** Draws all series, with bands below the lines and marks above them. */
export function curves(plane: Plane, drawn: readonly PlacedSeries[]): Child {
  return [
    drawn.map((one) => band(plane, one, drawn.length)),
    drawn.map(curve),
    drawn.map((one) => dots(plane, one)),
    drawn.map(marks),
  ]
}

/** Single values as rings in the colour of their line. */
function dots({ x, y }: Plane, { series, index }: PlacedSeries): Child {
  const { colour } = markOf(index)
  return (series.dots ?? [])
    .filter((dot) => x.has(dot.x) && y.has(dot.y))
    .map((dot) => element('circle', { class: `ring s${colour}`, cx: x.at(dot.x), cy: y.at(dot.y), r: 3 }))
}

export function placeSeries({ x, y }: Plane, series: PlacedSeries['series'], index: number): PlacedSeries {
  const spots = series.x.map((value, i) => {
    const height = series.y[i]
    return x.has(value) && y.has(height) ? { x: x.at(value), y: y.at(height) } : undefined
  })
  return { name: series.name, index, line: true, series, spots, end: spots.findLast((spot) => spot !== undefined) }
}

function band({ x, y }: Plane, { series, index }: PlacedSeries, all: number): Child {
  const edges = series.x.map((value, i) => {
    const [low, high] = [series.low?.[i], series.high?.[i]]
    return x.has(value) && y.has(low) && y.has(high) ? { x: x.at(value), low: y.at(low), high: y.at(high) } : undefined
  })
  const d = area<(typeof edges)[number]>()
    .defined((edge) => edge !== undefined)
    .x((edge) => edge?.x ?? 0)
    .y0((edge) => edge?.low ?? 0)
    .y1((edge) => edge?.high ?? 0)
    .digits(1)(edges)
  // Many overlapping bands would hide the lines.
  const faint = all > FEW_BANDS ? { 'fill-opacity': FEW_BANDS / all } : {}
  return d ? element('path', { class: `band f${markOf(index).colour}`, d, ...faint }) : undefined
}

function curve({ spots, index }: PlacedSeries): Child {
  const { colour, dash } = markOf(index)
  const d = line<Spot | undefined>()
    .defined((spot) => spot !== undefined)
    .x((spot) => spot?.x ?? 0)
    .y((spot) => spot?.y ?? 0)
    .digits(1)([...spots])
  return d ? element('path', { class: `line s${colour}`, 'stroke-dasharray': dash, d }) : undefined
}

/** Marks every point of a short line, and about six points of a long one, staggered between series. */
function marks({ spots, index }: PlacedSeries): Child {
  const points = spots.filter((spot) => spot !== undefined)
  const every = points.length <= 12 ? 1 : Math.ceil(points.length / 6)
  const first = every === 1 ? 0 : Math.floor((every * ((index * 3) % 8)) / 8)
  return points.filter((_, i) => i % every === first % every).map(({ x, y }) => mark(index, x, y, 40))
}

export function endLabels({ box }: Plane, ended: readonly PlacedSeries[], from: number, width: number): Child {
  const ordered = ended
    .flatMap((one) => (one.end ? [{ ...one, end: one.end }] : []))
    .sort((a, b) => a.end.y - b.end.y || a.index - b.index)
  const heights = spreadOut(
    ordered.map(({ end }) => end.y),
    LABEL_HEIGHT,
    box.top + 4,
    box.bottom - 4,
  )
  return ordered.map((one, i) => {
    const y = heights[i] ?? one.end.y
    const x = from + 14
    const name = truncate(one.name, letters.text, width - x - sampleWidth(true) - 4)
    return [
      element('path', {
        class: `leader s${markOf(one.index).colour}`,
        d: `M${one.end.x.toFixed(1)} ${one.end.y.toFixed(1)}L${(x - 3).toFixed(1)} ${y.toFixed(1)}`,
      }),
      sample(one, x, y),
      element('text', { x: x + sampleWidth(true), y: y + 4 }, name, titleIfCut(name, one.name)),
    ]
  })
}
