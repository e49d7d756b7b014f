/**
 * The plane of a figure: a box with two scales, their ticks and their labels.
 *
 * The label of the y axis is horizontal and above the axis, which is easier to read. Margins are computed from the
 * texts in them, so that no number is cut.
 */
import type { Tick } from '../../../core/charts/ticks.ts'
import type { Axis } from '../blocks.ts'
import { type Child, element, type Markup } from '../markup.ts'
import { type Scale, scaleOf, usable } from './scale.ts'
import { textLines, textWidth, truncate, wrapText } from './text.ts'

/** Font sizes of names and ticks, and the regular size that is as wide as 12 pixels of bold text. */
export const letters = { text: 12, small: 11, bold: 13.5 } as const

export interface Box {
  readonly left: number
  readonly right: number
  readonly top: number
  readonly bottom: number
}

export interface Plane {
  readonly box: Box
  readonly x: Scale
  readonly y: Scale
  /** Grid, ticks and labels. */
  readonly markup: Child
  /** Lower end, below which more content can follow. */
  readonly end: number
}

export interface PlaneSize {
  /** Left edge; default: 0. */
  readonly from?: number
  /** Top edge; default: 0. */
  readonly above?: number
  readonly width: number
  /** Height of the box. */
  readonly height: number
  /** Space right of the box. */
  readonly right: number
}

/** Height of an empty box. */
const EMPTY_HEIGHT = 90

export function planeOf(
  axes: { readonly x: Axis; readonly y: Axis },
  xs: readonly (number | undefined)[],
  ys: readonly (number | undefined)[],
  { from = 0, above = 0, width, height: wanted, right }: PlaneSize,
): Plane {
  const empty = !xs.some((value) => usable(axes.x.scale, value)) || !ys.some((value) => usable(axes.y.scale, value))
  const height = empty ? Math.min(wanted, EMPTY_HEIGHT) : wanted
  const title = wrapText(`↑\u00a0${axes.y.label}`, letters.bold, width - 8, 2)
  const top = above + 10 + 16 * title.length + 6
  const y = scaleOf(axes.y.scale, ys, [top + height, top], Math.round(height / 52))
  const left = from + 12 + Math.ceil(Math.max(16, ...y.ticks.map(({ label }) => textWidth(label, letters.small))))
  const box = { left, right: from + width - right, top, bottom: top + height }
  const x = scaleOf(axes.x.scale, xs, [box.left, box.right], Math.max(2, Math.round((box.right - left) / 85)))
  const markup = [
    textLines(title, { x: from + 2, y: above + 20, class: 'label' }, 16),
    empty ? undefined : y.ticks.map((tick) => yTick(tick, y.at(tick.value), box)),
    element('path', { class: 'axis', d: `M${box.left} ${box.bottom}H${box.right}` }),
    empty ? noData(box) : xTicks(x, box, from + width),
    axisLabel(`${axes.x.label}\u00a0→`, box, from + width, from),
  ]
  return { box, x, y, markup, end: box.bottom + 46 }
}

/** A tick of the y axis: a grid line if it has a label, else a short mark. */
function yTick({ label }: Tick, y: number, box: Box): Child {
  if (label === '') return element('line', { class: 'minor', x1: box.left - 3, x2: box.left, y1: y, y2: y })
  return [
    element('line', { class: 'grid', x1: box.left, x2: box.right, y1: y, y2: y }),
    element('text', { class: 'small', x: box.left - 6, y: y + 4, 'text-anchor': 'end' }, label),
  ]
}

/** The plane of a figure with rows instead of a y axis: grid lines, and the x axis below. */
export function rowsPlane(x: Scale, label: string, box: Box, width: number): Child {
  const gridLine = (at: number) => element('line', { class: 'grid', x1: at, x2: at, y1: box.top, y2: box.bottom })
  return [
    x.ticks.filter((tick) => tick.label !== '').map(({ value }) => gridLine(x.at(value))),
    element('path', { class: 'axis', d: `M${box.left.toFixed(1)} ${box.bottom}H${box.right.toFixed(1)}` }),
    xTicks(x, box, width),
    axisLabel(label, box, width),
  ]
}

/** A line below a row. */
export const rowLine = (y: number, width: number): Markup =>
  element('line', { class: 'row', x1: 2, x2: width - 2, y1: y, y2: y })

/** Ticks of the x axis, below the box. A label that would touch the previous one is omitted. */
function xTicks(scale: Scale, box: Box, width: number): Child {
  let nextFree = 0
  return scale.ticks.map(({ value, label }) => {
    const x = scale.at(value)
    const half = textWidth(label, letters.small) / 2
    const middle = Math.min(Math.max(x, half + 1), width - half - 1)
    const shown = label !== '' && middle - half >= nextFree
    if (shown) nextFree = middle + half + 6
    return [
      element('line', {
        class: shown ? 'axis' : 'minor',
        x1: x,
        x2: x,
        y1: box.bottom,
        y2: box.bottom + (shown ? 5 : 3),
      }),
      shown
        ? element('text', { class: 'small', x: middle, y: box.bottom + 18, 'text-anchor': 'middle' }, label)
        : undefined,
    ]
  })
}

/**
 * @param end right edge of the available space
 * @param from left edge of the available space
 */
function axisLabel(label: string, box: Box, end: number, from = 0): Markup {
  const text = truncate(label, letters.bold, end - from - 4)
  const half = textWidth(text, letters.bold) / 2
  const middle = Math.min(Math.max((box.left + box.right) / 2, from + half + 2), end - half - 2)
  return element('text', { class: 'label', x: middle, y: box.bottom + 37, 'text-anchor': 'middle' }, text)
}

/** Text in the middle of an empty box. */
export function noData(box: Box): Markup {
  return element(
    'text',
    { class: 'note', x: (box.left + box.right) / 2, y: (box.top + box.bottom) / 2 + 4, 'text-anchor': 'middle' },
    'no data yet',
  )
}

/** Small print below a figure. */
export function notes(lines: readonly string[], width: number, y: number): { markup: Child; end: number } {
  const all = lines.flatMap((line) => wrapText(line, letters.small, width - 4, 3))
  return {
    markup: textLines(all, { class: 'note', x: 2, y: y + 10 }, 15),
    end: y + 15 * all.length,
  }
}

/** Reason why a point has no position. */
export const noPosition = 'not finite, or not above zero on a logarithmic axis'

/** Reports values without a position, such as "3 values are left out: not finite." */
export function omitted(count: number, what: string, why: string): string[] {
  return count === 0 ? [] : [`${count} ${what}${count === 1 ? ' is' : 's are'} left out: ${why}.`]
}
