/** The end of the scale of a heat map. Heat maps that are on the page together share it: a colour means one load. */
import { signal } from '@preact/signals'
import { useLayoutEffect, useMemo } from 'preact/hooks'
import * as view from '../view.ts'
import { fittingEnd } from './scale.ts'

/** The ends that fit the heat maps on the page, each by itself. */
const fitting = signal<ReadonlyMap<object, number>>(new Map())

/** @param values Loads over mean; NaN where there is no expert */
export function useScaleEnd(values: Float32Array): number {
  const map = useMemo(() => ({}), [])
  const own = useMemo(() => fittingEnd(values), [values])
  useLayoutEffect(() => {
    fitting.value = new Map([...fitting.peek(), [map, own]])
  }, [own])
  useLayoutEffect(
    () => () => {
      fitting.value = new Map([...fitting.peek()].filter(([other]) => other !== map))
    },
    [],
  )
  const chosen = view.scale.value
  return chosen === 'auto' ? Math.max(own, ...fitting.value.values()) : Number(chosen)
}
