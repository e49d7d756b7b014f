/** The loads of the current snapshot, for use in a component. */
import { type ReadonlySignal, type Signal, useSignal, useSignalEffect } from '@preact/signals'
import { useEffect, useState } from 'preact/hooks'
import type { RoutingIndex } from '../../../src/faces/watch/api.ts'
import { getFloats } from '../shared/client.ts'
import { LoadsLoader } from './loads-loader.ts'

export interface ShownLoads {
  readonly snapshot: number
  /** Loads of shape [routers][2][experts]. */
  readonly loads: Float32Array
}

export interface LoadsAt {
  /** The previous snapshot until the current one has arrived; null before the first. */
  readonly shown: ReadonlySignal<ShownLoads | null>
  readonly problem: ReadonlySignal<string | null>
  readonly ready: (snapshot: number) => boolean
}

export function useLoads(index: Signal<RoutingIndex>, at: ReadonlySignal<number>): LoadsAt {
  const shown = useSignal<ShownLoads | null>(null)
  const problem = useSignal<string | null>(null)
  const arrivals = useSignal(0)
  const [loads] = useState(() => {
    const { run } = index.peek()
    return new LoadsLoader((from, to, signal) => getFloats('/api/routing/loads', { run, from, to }, signal), {
      arrived: () => {
        problem.value = null
        arrivals.value++
      },
      failed: (error) => {
        problem.value = error.message
      },
    })
  })
  useSignalEffect(() => {
    const { steps, generation, routers, experts } = index.value
    arrivals.value
    loads.follow(steps.length, generation, routers.length * 2 * experts)
    const snapshot = at.value
    if (snapshot < 0) return
    const before = shown.peek()?.snapshot ?? snapshot
    loads.request(snapshot, snapshot < before ? -1 : 1)
    const found = loads.get(snapshot)
    if (found) shown.value = { snapshot, loads: found }
  })
  useEffect(() => () => loads.stop(), [])
  return { shown, problem, ready: (snapshot) => loads.get(snapshot) !== undefined }
}
