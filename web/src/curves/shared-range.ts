/**
 * The range of x that all cards have in common. Metrics are recorded at different steps: an evaluation every hundred, a
 * training loss every step. With a range of its own, each card would place the same step elsewhere.
 */
import { type ReadonlySignal, signal, useSignalEffect } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import type { XAxis } from '../../../src/faces/watch/api.ts'
import { type Line, type Range, rangeOfX } from './drawing/lines.ts'

interface Covered extends Range {
  readonly axis: XAxis
}

/** The range of the lines of each card that has loaded some. */
const covered = signal<ReadonlyMap<unknown, Covered>>(new Map())

/**
 * @param card Anything that only this card has
 * @param range Range of the card's lines on this axis; null if it has none, or is gone
 */
export function cover(card: unknown, axis: XAxis, range: Range | null): void {
  const before = covered.peek().get(card)
  if (range ? before?.axis === axis && before.min === range.min && before.max === range.max : !before) return
  const after = new Map(covered.peek())
  if (range) after.set(card, { axis, ...range })
  else after.delete(card)
  covered.value = after
}

/** The range from the first to the last point of all cards on this axis. */
export function sharedRange(axis: XAxis, own: Range): Range {
  const all = [own, ...[...covered.value.values()].filter((each) => each.axis === axis)]
  return { min: Math.min(...all.map(({ min }) => min)), max: Math.max(...all.map(({ max }) => max)) }
}

/** Keeps the range of a card's lines among those of all cards, as long as the card exists. */
export function useCovered(
  loader: { readonly answer: ReadonlySignal<{ readonly x: XAxis } | null> },
  lines: ReadonlySignal<readonly Line[]>,
): void {
  useSignalEffect(() => {
    const axis = loader.answer.value?.x
    if (axis) cover(loader, axis, rangeOfX(lines.value))
  })
  useEffect(() => () => cover(loader, 'step', null), [loader])
}
