/**
 * The range of x that all cards have in common. Metrics are recorded at different steps: an evaluation every hundred, a
 * training loss every step. With a range of its own, each card would place the same step elsewhere.
 */
import { computed, type ReadonlySignal, signal, useSignalEffect } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { type XAxis, xAxes } from '../../../src/faces/watch/api.ts'
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

/**
 * The ends of the range of all cards on each axis. They are numbers in signals of their own, so that a card is drawn
 * again when an end moves, and not whenever another card appears or loads.
 */
const endsOn = Object.fromEntries(
  xAxes.map((axis) => {
    const onAxis = () => [...covered.value.values()].filter((each) => each.axis === axis)
    const min = computed(() => Math.min(...onAxis().map(({ min }) => min)))
    const max = computed(() => Math.max(...onAxis().map(({ max }) => max)))
    return [axis, { min, max }]
  }),
) as unknown as Readonly<Record<XAxis, { readonly [end in keyof Range]: ReadonlySignal<number> }>>

/** The range from the first to the last point of all cards on this axis. */
export function sharedRange(axis: XAxis, own: Range): Range {
  const { min, max } = endsOn[axis]
  return { min: Math.min(own.min, min.value), max: Math.max(own.max, max.value) }
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
