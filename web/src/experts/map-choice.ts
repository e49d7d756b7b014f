/** The choice of one of the two heat maps, for a page with the maps of two trainings side by side. */
import { batch } from '@preact/signals'
import { inAddress, oneOf } from '../view-state.ts'
import { router } from './view.ts'

const maps = ['layers', 'time'] as const
export const map = inAddress('map', oneOf(maps), 'layers', true)

/** Shows one router over time. */
export function openRouter(index: number): void {
  batch(() => {
    router.value = index
    map.value = 'time'
  })
}
