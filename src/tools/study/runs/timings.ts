/** Step times. All arms are timed in one session and take turns, because the speed of a machine drifts. */

import { median } from '../../../core/averages.ts'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { RunError, UsageError } from '../../../core/errors.ts'
import type { StudyEvent } from '../events.ts'
import type { Grid } from '../grid/grid.ts'
import type { KeyedTiming } from '../results/cell-files.ts'
import type { Ledger } from '../results/ledger.ts'
import { describeMachine } from '../results/record.ts'
import type { JobResult } from './job.ts'
import type { RunJob } from './workers.ts'

/** Sets the threads of a configuration: they depend on the machine, not on the arm. */
export const withThreads = (config: RunConfig, threads: number): RunConfig => ({
  ...config,
  runtime: { ...config.runtime, threads },
})

/** Whether all arms that are to be timed have been timed. */
export const areTimed = ({ timed }: Grid, ledger: Ledger): boolean =>
  timed.every(({ arm, key }) => ledger.timings.some((known) => known.arm === arm && known.key === key))

/**
 * Times the arms, unless all have been timed. Turns alternate in direction.
 * @param expected Seconds that it will take, for events; null if unknown.
 * Returns null when interrupted, when an arm failed, or when there is nothing to do.
 */
export async function timeArms(
  grid: Grid,
  ledger: Ledger,
  threads: number,
  expected: number | null,
  run: RunJob,
  signal: AbortSignal,
  emit: (event: StudyEvent) => void,
): Promise<readonly KeyedTiming[] | null> {
  const { timed } = grid
  if (areTimed(grid, ledger)) return null
  emit({ kind: 'phase', phase: 'timings', runs: TURNS, finished: 0, flopsLeft: 0 })
  const turnsMs = new Map<string, number[]>(timed.map(({ arm }) => [arm, []]))
  const started = performance.now()
  const secondsLeft = (done: number): number | null =>
    done === 0 ? expected : ((performance.now() - started) / 1000 / done) * (TURNS * timed.length - done)
  let engine = ''
  let done = 0
  for (let turn = 0; turn < TURNS; turn++)
    for (const { arm, config } of turn % 2 === 0 ? timed : [...timed].reverse()) {
      emit({ kind: 'timing', arm, turn: turn + 1, turns: TURNS, secondsLeft: secondsLeft(done) })
      const job = {
        kind: 'time',
        config: withThreads(config, threads),
        warmUp: WARM_UP_STEPS,
        steps: TIMED_STEPS,
      } as const
      const result = await attempt(() => run(job, signal, () => {}))
      if (typeof result === 'string') {
        if (!signal.aborted) emit({ kind: 'note', message: `steps are not timed, because ${arm} failed: ${result}` })
        return null
      }
      if (result.kind !== 'timing') return null
      engine = result.engine
      done++
      turnsMs.get(arm)?.push(result.stepMs)
    }
  return timed.map(({ arm, key }) => {
    const turns = turnsMs.get(arm) ?? []
    return { arm, key, stepMs: median(turns), turnsMs: turns, engine, machine: describeMachine() }
  })
}

/** The result of a job, or its error message: a study without step times still has its report. */
async function attempt(job: () => Promise<JobResult>): Promise<JobResult | string> {
  try {
    return await job()
  } catch (error) {
    if (error instanceof RunError || error instanceof UsageError) return error.message
    throw error
  }
}

/** How the steps of an arm are timed: in each turn every timed arm runs once, with these numbers of steps. */
export const TURNS = 5
export const WARM_UP_STEPS = 40
export const TIMED_STEPS = 30
