/** State of the comparison of arms: the baseline, which is in the address, and its contrasts with the other shown arms. */
import { computed, effect, untracked } from '@preact/signals'
import { MAX_COMPARED_ARMS } from '../../../../src/faces/watch/api.ts'
import { baseline } from '../../runs/baseline.ts'
import { knownRuns } from '../../runs/known-runs.ts'
import { sharedFolderOf } from '../../runs/names.ts'
import { sharedFolder } from '../../runs/table-state.ts'
import { shownRuns } from '../../store.ts'
import { setXAxis, xAxis } from '../settings.ts'
import { type Arm, armsOf, type Contrast, contrastsOf } from './arms.ts'

/** The shown runs change every second; arms change only with which they are. */
const shownKey = computed(() => shownRuns.value.map(({ id }) => id).join())

const runs = computed(() => {
  void shownKey.value
  void knownRuns.value
  return untracked(() => shownRuns.value)
})

export const arms = computed<readonly Arm[]>(() => armsOf(runs.value))

const isOf = (id: string) => (arm: Arm) => [...arm.runs, ...arm.repeated].some((run) => run.id === id)

/** The arm of the baseline; undefined if none of its runs is shown. */
const baselineArm = computed(() => arms.value.find(isOf(baseline.value)))

export interface Comparison {
  readonly baseline: Arm
  /** Contrasts that can be compared, at most as many as a request may have. */
  readonly contrasts: readonly Contrast[]
  /** Arms that cannot be compared. */
  readonly refused: readonly Contrast[]
  /** Number of further arms, beyond the limit. */
  readonly more: number
  /** The folder that the names of the compared arms share. */
  readonly folder: string
}

/** The comparison that is shown; null without a baseline, or without another arm to compare. */
export const comparison = computed<Comparison | null>(() => {
  const found = baselineArm.value
  if (!found || arms.value.length < 2) return null
  const all = contrastsOf(arms.value, found)
  const comparable = all.filter(({ problem }) => problem === null)
  return {
    baseline: found,
    contrasts: comparable.slice(0, MAX_COMPARED_ARMS),
    refused: all.filter(({ problem }) => problem !== null),
    more: Math.max(0, comparable.length - MAX_COMPARED_ARMS),
    folder: sharedFolderOf([found, ...comparable.map(({ arm }) => arm)].map(({ name }) => name)),
  }
})

export const isComparing = computed(() => comparison.value !== null)

/** The name of an arm without the folder that all runs, or all compared arms, share. */
export function shortArm({ name }: Arm): string {
  const folder = comparison.value?.folder || sharedFolder.value
  return name.startsWith(folder) ? name.slice(folder.length) : name
}

// Runs of a pair are compared at the same step; at the same time or number of operations they are at other steps.
effect(() => {
  if (isComparing.value && (xAxis.value === 'time' || xAxis.value === 'flops')) untracked(() => setXAxis('step'))
})
