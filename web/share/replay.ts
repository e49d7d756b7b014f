/** The loads of a shared run, and the current place in it. The view (router, expert, step) is that of the dashboard. */

import { computed, type ReadonlySignal, signal } from '@preact/signals'
import type { Moment, SharedRun } from '../../src/faces/watch/share/shared-run.ts'
import { snapshotAt } from '../src/experts/loads-loader.ts'
import type { ShownLoads } from '../src/experts/use-loads.ts'
import * as view from '../src/experts/view.ts'
import { unpackLoads } from './unpack.ts'

export interface Replay {
  readonly run: SharedRun
  readonly steps: ReadonlySignal<readonly number[]>
  /** Index of the current snapshot, and its step. */
  readonly at: ReadonlySignal<number>
  readonly step: ReadonlySignal<number>
  /** Loads of the current snapshot. */
  readonly shown: ReadonlySignal<ShownLoads | null>
  /** Loads of a router, of shape [snapshots][2][experts]. */
  readonly history: (router: number) => Float32Array
  readonly moveTo: (snapshot: number) => void
  readonly jumpTo: (moment: Moment) => void
  /** Experts of the chosen router that are outlined. */
  readonly outlined: ReadonlySignal<readonly number[]>
  /** Chooses a router, and experts of it to outline. */
  readonly choose: (router: number, experts?: readonly number[]) => void
  /** The moment that was jumped to, until the step changes. */
  readonly chosen: ReadonlySignal<Moment | null>
  /** The newest moment up to the current step. */
  readonly latest: ReadonlySignal<Moment | null>
}

/** A replay of a few snapshots is not over at once, and one of many does not take minutes. */
const speedFor = (snapshots: number) => view.speeds[snapshots < 60 ? 0 : snapshots < 240 ? 1 : 2]

export function replayOf(run: SharedRun): Replay {
  const { routers, experts } = run.index
  const loads = unpackLoads(run.loads)
  const size = routers.length * 2 * experts
  const steps = signal(run.index.steps)
  const at = computed(() => snapshotAt(steps.value, view.step()))
  const step = computed(() => steps.value[at.value] ?? 0)
  const jumped = signal<Moment | null>(null)
  view.speed.value = speedFor(run.index.steps.length)
  const lookedAt = signal<{ readonly router: number; readonly experts: readonly number[] } | null>(null)
  const choose = (router: number, experts: readonly number[] = []) => {
    view.router.value = router
    lookedAt.value = { router, experts }
  }
  const moveTo = (snapshot: number) => {
    view.playing.value = false
    view.moveTo(steps.value[snapshot] ?? 0)
  }
  return {
    run,
    steps,
    at,
    step,
    shown: computed(() => ({ snapshot: at.value, loads: loads.subarray(at.value * size, (at.value + 1) * size) })),
    history: (router) => {
      const history = new Float32Array(run.index.steps.length * 2 * experts)
      for (let t = 0; t < run.index.steps.length; t++) {
        const from = t * size + router * 2 * experts
        history.set(loads.subarray(from, from + 2 * experts), t * 2 * experts)
      }
      return history
    },
    moveTo,
    outlined: computed(() => (lookedAt.value?.router === view.router.value ? lookedAt.value.experts : [])),
    choose,
    jumpTo: (moment) => {
      moveTo(snapshotAt(steps.value, moment.step))
      if (moment.router !== null) choose(moment.router, moment.experts)
      jumped.value = moment
    },
    chosen: computed(() =>
      jumped.value && snapshotAt(steps.value, jumped.value.step) === at.value ? jumped.value : null,
    ),
    latest: computed(() => run.moments.findLast((moment) => moment.step <= step.value) ?? null),
  }
}
