/**
 * Draws line figures. Every line is named at its end, with a leader line if names had to move apart. A narrow figure
 * has the names below, in the same order.
 *
 * Losses fall far at first and differ little later. If the later half of the lines uses a small part of the height,
 * a second plane shows that half enlarged, and a frame in the first plane marks it.
 */
import { extent } from 'd3-array'
import { valueLabel } from '../../../core/text/number-labels.ts'
import type { LineFigure } from '../blocks.ts'
import { type Child, element } from '../markup.ts'
import { letters, noPosition, notes, omitted, type Plane, type PlaneSize, planeOf } from './axes.ts'
import { type Body, isNarrow } from './body.ts'
import { curves, endLabels, LABEL_HEIGHT, type PlacedSeries, placeSeries } from './curves.ts'
import { legend, sampleWidth } from './legend.ts'
import { usable } from './scale.ts'
import { textWidth } from './text.ts'

export function linesBody(figure: LineFigure, width: number): Body {
  const narrow = isNarrow(width)
  const longest = Math.max(0, ...figure.series.map(({ name }) => textWidth(name, letters.text)))
  const names = narrow ? 14 : Math.min(longest + sampleWidth(true) + 22, width * 0.36)
  const height = narrow ? 220 : Math.max(330, LABEL_HEIGHT * figure.series.length)
  const later = laterHalf(figure)
  const [first, second] = sizes(width, height, names, later !== undefined, narrow)
  const whole = panelOf(figure, first)
  const detail = later && second ? panelOf(later, { ...second, above: narrow ? whole.plane.end + 8 : 0 }) : undefined
  const last = detail ?? whole
  const ended = last.drawn.filter((one) => one.end !== undefined)
  const ordered = [...ended].sort((a, b) => (a.end?.y ?? 0) - (b.end?.y ?? 0))
  const end = Math.max(whole.plane.end, last.plane.end)
  const below = narrow ? legend(ordered, width, end) : { markup: undefined, end }
  const small = notes(remarks(figure, whole.drawn), width, below.end)
  return {
    height: small.end + 4,
    markup: [
      whole.markup,
      detail ? frame(whole.plane, detail.plane) : undefined,
      detail?.markup,
      narrow ? undefined : endLabels(last.plane, ended, width - names, width),
      below.markup,
      small.markup,
    ],
    description: description(figure, whole.drawn),
  }
}

/**
 * Sizes of the planes. Two planes are side by side, and the detail is larger and has the names. In a narrow figure, the
 * detail is below.
 */
function sizes(width: number, height: number, names: number, two: boolean, narrow: boolean): [PlaneSize, PlaneSize?] {
  if (!two) return [{ width, height, right: names }]
  if (narrow)
    return [
      { width, height: 150, right: 14 },
      { width, height, right: 14 },
    ]
  const share = Math.round(width * 0.34)
  return [
    { width: share, height, right: 8 },
    { from: share + 20, width: width - share - 20, height, right: names },
  ]
}

interface Panel {
  readonly plane: Plane
  readonly drawn: readonly PlacedSeries[]
  readonly markup: Child
}

function panelOf(figure: LineFigure, size: PlaneSize): Panel {
  const all = usablePoints(figure)
  const plane = planeOf(
    figure,
    all.map(({ x }) => x),
    all.flatMap(({ y, low, high }) => [y, low, high]),
    size,
  )
  const drawn = figure.series.map((series, index) => placeSeries(plane, series, series.mark ?? index))
  return { plane, drawn, markup: [plane.markup, curves(plane, drawn)] }
}

/** Points that have a position on both axes. */
const usablePoints = ({ series, x: { scale: xScale }, y: { scale: yScale } }: LineFigure) =>
  series.flatMap(({ x, y, low, high, dots = [] }) =>
    [
      ...x.map((value, i) => ({
        x: value,
        y: y[i] ?? Number.NaN,
        low: low?.[i] ?? undefined,
        high: high?.[i] ?? undefined,
      })),
      ...dots.map((dot) => ({ ...dot, low: undefined, high: undefined })),
    ].filter((point) => usable(xScale, point.x) && usable(yScale, point.y)),
  )

/** Smallest number of points, in the longest series, that is worth enlarging. */
const MIN_DETAIL_POINTS = 12

/** The later half of the figure, if it uses less than a fifth of the height. */
function laterHalf(figure: LineFigure): LineFigure | undefined {
  if (figure.x.scale === 'log' || figure.y.scale === 'log' || figure.series.length < 2) return undefined
  const all = usablePoints(figure)
  const [from, to] = extent(all, ({ x }) => x)
  if (from === undefined) return undefined
  const middle = (from + to) / 2
  const series = figure.series.map((one) => {
    const start = one.x.findIndex((x) => x >= middle)
    const cut = <T>(list: readonly T[]): readonly T[] => (start < 0 ? [] : list.slice(start))
    const { low, high, dots } = one
    return {
      ...one,
      x: cut(one.x),
      y: cut(one.y),
      ...(low && high && { low: cut(low), high: cut(high) }),
      ...(dots && { dots: dots.filter(({ x }) => x >= middle) }),
    }
  })
  const later = { ...figure, y: { ...figure.y, label: 'the later half, enlarged' }, series }
  if (Math.max(...series.map(({ x }) => x.length)) < MIN_DETAIL_POINTS) return undefined
  const height = (points: readonly { readonly y: number }[]) => {
    const [low, high] = extent(points, ({ y }) => y)
    return low === undefined ? Number.POSITIVE_INFINITY : high - low
  }
  return height(usablePoints(later)) < height(all) / 5 ? later : undefined
}

/** Marks the area of the detail in the whole plane. */
function frame({ x, y, box }: Plane, detail: Plane): Child {
  const [left, right] = detail.x.domain.map((value) => Math.min(Math.max(x.at(value), box.left), box.right))
  const [low, high] = detail.y.domain.map((value) => Math.min(Math.max(y.at(value), box.top), box.bottom))
  if (left === undefined || right === undefined || low === undefined || high === undefined) return undefined
  return element('rect', { class: 'detail', x: left, y: high - 3, width: right - left, height: low - high + 6 })
}

function remarks(figure: LineFigure, drawn: readonly PlacedSeries[]): string[] {
  // A null is a gap, not a point.
  const points = figure.series.flatMap(({ x, y, dots = [] }) => [...x.filter((_, i) => y[i] !== null), ...dots]).length
  const empty = drawn.filter(({ end, series }) => end === undefined && !series.dots?.length).map(({ name }) => name)
  return [
    ...omitted(points - usablePoints(figure).length, 'point', noPosition),
    ...(empty.length > 0 && empty.length < drawn.length ? [`No data yet: ${empty.join(', ')}.`] : []),
  ]
}

function description(figure: LineFigure, drawn: readonly PlacedSeries[]): string {
  const lasts = drawn
    .filter(({ end }) => end !== undefined)
    .map(({ name, series, spots }) => {
      const last = spots.findLastIndex((spot) => spot !== undefined)
      return `${name} ends at ${valueLabel(series.y[last] ?? Number.NaN)}`
    })
  return `Lines of ${figure.y.label} over ${figure.x.label}${lasts.length > 0 ? `: ${lasts.join('; ')}` : ': no data yet'}.`
}
