/**
 * The view of the experts page, in the address, and the current step. While the step is played or dragged it is kept
 * only here, and written to the address when it rests: browsers refuse addresses that change thirty times a second.
 */
import { batch, signal } from '@preact/signals'
import { inAddress, index, number, oneOf, optional, text } from '../shared/view-state.ts'
import { loadKinds } from './expert-load.ts'
import { orders } from './frame.ts'
import { scaleEnds } from './scale.ts'

export const chosenRun = inAddress('run', optional(text), null, true)
export const order = inAddress('order', oneOf(orders), 'number')
export const loadKind = inAddress('load', oneOf(loadKinds), 'before')
/** Scales of the colours: `auto` fits the shown loads, the others end at this load over mean. */
export const scales = ['auto', ...scaleEnds.map(String)] as const
export const scale = inAddress('scale', oneOf(scales), 'auto')
/** Index of the selected router in RoutingIndex.routers. */
export const router = inAddress('router', index, 0, true)
export const expert = inAddress('expert', optional(index), null, true)
/** Step in the address; null to follow the newest. */
const restingStep = inAddress('at', optional(number), null)
const movingStep = signal<number | null>(null)

export const playing = signal(false)
/** Snapshots per second. */
export const speeds = [4, 12, 30] as const
export const speed = signal<(typeof speeds)[number]>(12)

/** The current step; null for the newest. */
export const step = () => movingStep.value ?? restingStep.value

let resting: ReturnType<typeof setTimeout> | undefined

export function moveTo(to: number): void {
  movingStep.value = to
  clearTimeout(resting)
  resting = setTimeout(rest, 300)
}

function rest(): void {
  if (playing.value) {
    resting = setTimeout(rest, 300)
    return
  }
  if (movingStep.value !== null) restingStep.value = movingStep.value
  movingStep.value = null
}

export function toNewest(): void {
  clearTimeout(resting)
  playing.value = false
  movingStep.value = null
  restingStep.value = null
}

/** Shows another run and resets router, expert and step. */
export function openRun(id: string): void {
  batch(() => {
    toNewest()
    router.value = 0
    expert.value = null
    chosenRun.value = id
  })
}

export function openExpert(routerIndex: number, number: number): void {
  batch(() => {
    router.value = routerIndex
    expert.value = number
  })
}
