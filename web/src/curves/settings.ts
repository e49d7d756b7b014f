/** Settings of the curves, shared by all cards and stored in the address. */
import { batch, effect, untracked } from '@preact/signals'
import { type XAxis, xAxes } from '../../../src/faces/watch/api.ts'
import { flag, inAddress, list, number, oneOf, optional, text } from '../shared/view-state.ts'

export const xAxis = inAddress<XAxis>('x', oneOf(xAxes), 'step', true)
export const logY = inAddress('log', flag, false)
/** Weight of the next value on either side in the mean that smooths a curve (`smooth` in series.ts). */
export const smoothing = inAddress('smoothing', number, 0.6)
export const seedBands = inAddress('bands', flag, false)
/** Whether outliers count for the range of y. */
export const withOutliers = inAddress('outliers', flag, false)
/** Visible range of the x axis, in its unit; null for the first or the last point. */
export const from = inAddress('from', optional(number), null, true)
export const to = inAddress('to', optional(number), null, true)
export const search = inAddress('metrics', text, '')
export const folded = inAddress<readonly string[]>('folded', list, [])
export const pinned = inAddress<readonly string[]>('pinned', list, [])
/** The metric that fills the window. */
export const enlarged = inAddress('metric', text, '', true)

export const MAX_SMOOTHING = 0.99

export function zoomTo(range: readonly [from: number, to: number] | null): void {
  batch(() => {
    from.value = range?.[0] ?? null
    to.value = range?.[1] ?? null
  })
}

export const wholeRange = (): void => zoomTo(null)

/** The visible part of the range that lines have; null if it is empty. */
export function visibleX(whole: { readonly min: number; readonly max: number }): typeof whole | null {
  const x = { min: from.value ?? whole.min, max: to.value ?? whole.max }
  return x.min < x.max ? x : null
}

/** Changes the axis and resets the range, which was in the old unit. */
export function setXAxis(axis: XAxis): void {
  if (axis === xAxis.value) return
  batch(() => {
    wholeRange()
    xAxis.value = axis
  })
}

export const toggled = (values: readonly string[], value: string): readonly string[] =>
  values.includes(value) ? values.filter((each) => each !== value) : [...values, value]

// Corrects invalid values from the address.
effect(() => {
  const clamped = Math.max(0, Math.min(MAX_SMOOTHING, smoothing.value))
  untracked(() => {
    smoothing.value = clamped
    if (from.value !== null && to.value !== null && from.value >= to.value) wholeRange()
  })
})
