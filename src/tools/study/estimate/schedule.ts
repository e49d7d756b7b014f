/** The wall time of runs that share a machine: as many workers as `--jobs`, each takes the next run of the list. */
import type { Cell } from '../contract.ts'

export interface Task {
  /** Tasks of a group are done one after the other. */
  readonly group: string
  readonly seconds: number
}

/** The group of a run: the branches of an arm and a seed continue each other; any other run is independent. */
export const groupOf = ({ arm, seed, rate, key, branch }: Cell): string =>
  branch ? JSON.stringify([arm, seed, rate]) : key

/** Seconds until all tasks are done, if each of the workers takes the next group of the list whenever it is free. */
export function makespan(tasks: readonly Task[], workers: number): number {
  const groups = new Map<string, number>()
  for (const { group, seconds } of tasks) groups.set(group, (groups.get(group) ?? 0) + seconds)
  const busyUntil = new Array<number>(Math.max(1, Math.min(workers, groups.size))).fill(0)
  for (const seconds of groups.values()) {
    const next = busyUntil.indexOf(Math.min(...busyUntil))
    busyUntil[next] = (busyUntil[next] as number) + seconds
  }
  return Math.max(...busyUntil)
}
