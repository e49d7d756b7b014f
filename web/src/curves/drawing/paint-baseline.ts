/** What belongs to a plot of differences besides its lines: the baseline at zero, and the numbers of pairs. */
import type { PairCount } from '../comparison/difference-lines.ts'
import { type Frame, toX, toY } from './paint.ts'
import type { Surface } from './surface.ts'

interface Colors {
  readonly quiet: string
  readonly back: string
}

/** Size of the texts and their distance from lines, in pixels of the page. */
const SIZE = 10.5
const GAP = 4
/** Smallest distance between the beginnings of two numbers of pairs, in pixels of the page. */
const APART = 78

/** Draws the zero line with the name of the baseline, which lines are drawn over. */
export function paintBaseline(surface: Surface, frame: Frame, name: string, unit: number, { quiet }: Colors): void {
  const { box } = frame
  const y = toY(frame, 0)
  surface.clipTo(box, () => {
    surface.line([box.left, y, box.left + box.width, y], { color: quiet, width: unit })
    const style = { color: quiet, size: SIZE * unit, anchor: 'end' } as const
    surface.text(name, box.left + box.width - GAP * unit, y - GAP * unit, style)
  })
}

/** Draws the numbers of pairs: beside their lines, or for all lines at the lower edge with a line where they change. */
export function paintPairCounts(
  surface: Surface,
  counts: readonly PairCount[],
  frame: Frame,
  unit: number,
  { quiet, back }: Colors,
): void {
  const { box } = frame
  const bottom = box.top + box.height
  const style = { color: quiet, size: SIZE * unit }
  surface.clipTo(box, () => {
    for (const { at, text, isChange } of labelsIn(frame, counts, APART * unit)) {
      if (isChange) surface.line([at, box.top, at, bottom], { color: quiet, width: unit, dash: [2 * unit, 3 * unit] })
      surface.text(text, at + GAP * unit, bottom - GAP * unit, { ...style, anchor: 'start' })
    }
    for (const { at, y, text } of labelsAtLines(frame, counts, unit)) {
      const [right, top, below] = [at + ROOM.width * unit, y - SIZE * unit, y + 2 * unit]
      surface.area([at, top, right, top, right, below, at, below], back, 0.7)
      surface.text(text, at + 2 * unit, y, { ...style, anchor: 'start' })
    }
  })
}

/**
 * The visible numbers of pairs of all lines and their places; the first is at the left edge if it is in force there. Of
 * several that follow closely, the last is shown, because it holds from there on.
 */
export function labelsIn(
  frame: Frame,
  counts: readonly PairCount[],
  apart: number,
): readonly { readonly at: number; readonly text: string; readonly isChange: boolean }[] {
  const { left, width } = frame.box
  const found: { at: number; text: string; isChange: boolean }[] = []
  for (const [i, { x, y, text }] of counts.entries()) {
    if (y !== undefined) continue
    const at = Math.max(left, toX(frame, x))
    if (at > left + width) break
    if (at - (found.at(-1)?.at ?? Number.NEGATIVE_INFINITY) < apart) found.pop()
    found.push({ at, text, isChange: i > 0 && at > left })
  }
  return found
}

/** Room of a number of pairs beside its line, in pixels of the page. */
const ROOM = { width: 44, height: 13 }

/**
 * The visible numbers of pairs of single lines, above the beginnings of their pieces. One that would hide another, or
 * the name of the baseline, is left out.
 */
export function labelsAtLines(
  frame: Frame,
  counts: readonly PairCount[],
  unit: number,
): readonly { readonly at: number; readonly y: number; readonly text: string }[] {
  const { left, top, width, height } = frame.box
  const found: { at: number; y: number; text: string }[] = []
  const name = { at: left + width - ROOM.width * unit, y: toY(frame, 0) - GAP * unit }
  for (const { x, y: value, text } of counts) {
    const [at, y] = [Math.min(toX(frame, x), left + width - ROOM.width * unit), toY(frame, value) - GAP * unit]
    const isVisible =
      value !== undefined && toX(frame, x) >= left && toX(frame, x) <= left + width && y > top && y < top + height
    const isFree = [name, ...found].every(
      (other) => Math.abs(other.at - at) > ROOM.width * unit || Math.abs(other.y - y) > ROOM.height * unit,
    )
    if (isVisible && isFree) found.push({ at, y, text })
  }
  return found
}
