/**
 * Draws scatter plots. Each group has a colour and a shape. Labels are placed where there is room, with a leader line
 * if that is far from their point. Labels without room are omitted and counted in a note.
 */

import { valueLabel } from '../../../core/text/number-labels.ts'
import type { ScatterFigure } from '../blocks.ts'
import { type Child, element } from '../markup.ts'
import { letters, noPosition, notes, omitted, type Plane, planeOf } from './axes.ts'
import { type Body, isNarrow } from './body.ts'
import { type Placed, placeLabels, type Rectangle } from './labels.ts'
import { legend, mark } from './legend.ts'
import { markOf } from './marks.ts'
import { usable } from './scale.ts'
import { textWidth, title, truncate } from './text.ts'

type Point = ScatterFigure['points'][number]

interface Dot {
  readonly point: Point
  readonly group: number
  readonly x: number
  readonly y: number
  readonly bar: { readonly low: number; readonly high: number } | undefined
}

export function scatterBody(figure: ScatterFigure, width: number): Body {
  const narrow = isNarrow(width)
  const shown = figure.points.filter(({ x, y }) => usable(figure.x.scale, x) && usable(figure.y.scale, y))
  const trend = (figure.trend ?? []).filter(([x, y]) => usable(figure.x.scale, x) && usable(figure.y.scale, y))
  const plane = planeOf(
    figure,
    [...shown.map(({ x }) => x), ...trend.map(([x]) => x)],
    [...shown.flatMap(({ y, low, high }) => [y, low, high]), ...trend.map(([, y]) => y)],
    { width, height: narrow ? 270 : 380, right: narrow ? 14 : 24 },
  )
  const groups = [...new Set(figure.points.map(({ group }) => group))]
  const dots = shown.map((point) => dotOf(plane, point, groups.indexOf(point.group)))
  const names = dots.map(({ point }) => truncate(point.label, letters.small, Math.min(190, width * 0.4)))
  const places = labelPlaces(plane, dots, names, trend)
  const hasGroups = groups.some((group) => group.trim() !== '')
  const below = legend(hasGroups ? groups.map((name, index) => ({ name, index, line: false })) : [], width, plane.end)
  const unnamed = places.filter((place) => place === undefined).length
  const small = notes(
    [
      ...omitted(figure.points.length - shown.length, 'point', noPosition),
      ...omitted(unnamed, 'name', 'no room beside the point'),
    ],
    width,
    below.end,
  )
  return {
    height: small.end + 4,
    markup: [
      plane.markup,
      trendLine(plane, trend),
      dots.map(bar),
      dots.map((dot, i) => leader(dot, places[i])),
      dots.map((dot) =>
        element(
          'g',
          {},
          title(`${dot.point.label}: ${valueText(figure, dot.point)}`),
          mark(dot.group, dot.x, dot.y, 64),
        ),
      ),
      dots.map((_, i) => label(names[i] ?? '', places[i])),
      below.markup,
      small.markup,
    ],
    description: description(figure, shown),
  }
}

function dotOf({ x, y }: Plane, point: Point, group: number): Dot {
  const { low, high } = point
  const bar = y.has(low) && y.has(high) ? { low: y.at(low), high: y.at(high) } : undefined
  return { point, group, x: x.at(point.x), y: y.at(point.y), bar }
}

const LABEL_HEIGHT = 14

type Trend = NonNullable<ScatterFigure['trend']>

function labelPlaces(
  plane: Plane,
  dots: readonly Dot[],
  names: readonly string[],
  trend: Trend,
): (Placed | undefined)[] {
  const { box } = plane
  const line = trendSpots(plane, trend).map(({ x, y }) => ({ x: x - 1, y: y - 1, width: 2, height: 2 }))
  const points: Rectangle[] = dots.flatMap(({ x, y, bar }) => [
    { x: x - 5, y: y - 5, width: 10, height: 10 },
    ...(bar ? [{ x: x - 2, y: Math.min(bar.low, bar.high), width: 4, height: Math.abs(bar.high - bar.low) }] : []),
  ])
  return placeLabels(
    dots.map(({ x, y }, i) => ({ x, y, width: textWidth(names[i] ?? '', letters.small), height: LABEL_HEIGHT })),
    [...points, ...line],
    { x: box.left + 2, y: box.top, width: box.right - box.left + 8, height: box.bottom - box.top - 2 },
  )
}

/** Points along the trend, so close that no label fits between two of them. */
function trendSpots({ x, y }: Plane, trend: Trend): { x: number; y: number }[] {
  const corners = trend.map(([a, b]) => ({ x: x.at(a), y: y.at(b) }))
  return corners.slice(1).flatMap((to, i) => {
    const from = corners[i] ?? to
    const steps = Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / 6) + 1
    return Array.from({ length: steps + 1 }, (_, step) => ({
      x: from.x + ((to.x - from.x) * step) / steps,
      y: from.y + ((to.y - from.y) * step) / steps,
    }))
  })
}

function trendLine({ x, y }: Plane, trend: Trend): Child {
  if (trend.length < 2) return undefined
  const spots = trend.map(([a, b]) => `${x.at(a).toFixed(1)} ${y.at(b).toFixed(1)}`)
  return element('path', { class: 'trend', d: `M${spots.join('L')}` })
}

function bar({ x, bar, group }: Dot): Child {
  if (!bar) return undefined
  const d = `M${x.toFixed(1)} ${bar.low.toFixed(1)}V${bar.high.toFixed(1)}m-4 0h8M${(x - 4).toFixed(1)} ${bar.low.toFixed(1)}h8`
  return element('path', { class: `bar s${markOf(group).colour}`, d })
}

function leader({ x, y }: Dot, place: Placed | undefined): Child {
  if (!place?.far) return undefined
  // The leader ends at the nearest point of the label.
  const toX = Math.min(Math.max(x, place.x), place.x + place.width)
  const toY = Math.min(Math.max(y, place.y + 2), place.y + place.height - 2)
  return element('line', { class: 'leader neutral', x1: x, y1: y, x2: toX, y2: toY })
}

function label(name: string, place: Placed | undefined): Child {
  if (!place) return undefined
  const { x, y, width, anchor } = place
  const at = { x: x + { start: 0, middle: width / 2, end: width }[anchor], y: y + LABEL_HEIGHT - 3 }
  return element('text', { class: 'small halo', ...at, 'text-anchor': anchor }, name)
}

function valueText({ x, y }: ScatterFigure, point: Point): string {
  const interval =
    point.low === undefined || point.high === undefined
      ? ''
      : ` (${valueLabel(point.low)} to ${valueLabel(point.high)})`
  return `${x.label} ${valueLabel(point.x)}, ${y.label} ${valueLabel(point.y)}${interval}`
}

function description(figure: ScatterFigure, shown: readonly Point[]): string {
  const what = `Points of ${figure.y.label} over ${figure.x.label}`
  if (shown.length === 0) return `${what}: no data yet.`
  const points = shown.map((point) => `${point.label} (${valueLabel(point.x)}, ${valueLabel(point.y)})`)
  return `${what}: ${points.join('; ')}.`
}
