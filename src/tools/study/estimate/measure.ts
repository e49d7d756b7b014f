/**
 * Measures the pace of every distinct training of a study with probes. As many run at a time as runs of the study will,
 * since runs slow each other down. Then the steps of arms that the study times are timed, one arm at a time.
 */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { RunError, UsageError } from '../../../core/errors.ts'
import type { Cell } from '../contract.ts'
import type { Job, JobResult } from '../runs/job.ts'
import type { RunBytes } from '../runs/probe.ts'
import type { StudyOptions } from '../runs/run-study.ts'
import { withThreads } from '../runs/timings.ts'
import { Paces, shapeOf } from '../runs/work.ts'
import type { RunJob } from '../runs/workers.ts'

/** Numbers of steps with which the steps of an arm are timed for an estimate. */
const WARM_UP = 1
const TIMED = 3

export interface Measured {
  readonly paces: Paces
  /** Disk space of a run by its shape. */
  readonly bytes: ReadonlyMap<string, RunBytes>
  /** Seconds of timing an arm by its shape: of its start, and of a step. */
  readonly timings: ReadonlyMap<string, { readonly start: number; readonly step: number }>
  /** Messages of the training, and the error of its first steps, by its shape. */
  readonly messages: ReadonlyMap<string, readonly string[]>
  readonly failures: ReadonlyMap<string, string>
}

/**
 * @param timed Arms whose steps the study will time.
 * @returns null if `signal` stopped it
 * @throws RunError if every probe fails
 */
export async function measure(
  cells: readonly Cell[],
  timed: readonly Cell[],
  { jobs, threads, timingThreads }: Pick<StudyOptions, 'jobs' | 'threads' | 'timingThreads'>,
  run: RunJob,
  signal: AbortSignal,
): Promise<Measured | null> {
  const paces = new Paces()
  const bytes = new Map<string, RunBytes>()
  const timings = new Map<string, { start: number; step: number }>()
  const messages = new Map<string, readonly string[]>()
  const failures = new Map<string, string>()
  const attempt = async (job: Job): Promise<JobResult | null> => {
    try {
      return await run(job, signal, () => {})
    } catch (error) {
      if (!(error instanceof RunError || error instanceof UsageError)) throw error
      if (!signal.aborted) failures.set(shapeOf(job.config), error.message.split('\n')[0] ?? '')
      return null
    }
  }
  for (const round of roundsOf(shapesOf(cells), Math.min(jobs, cells.length)))
    await Promise.all(
      round.map(async (config) => {
        const result = await attempt({ kind: 'probe', config: withThreads(config, threads) })
        if (result?.kind !== 'probe') return
        const shape = shapeOf(config)
        paces.set(config, result.pace)
        bytes.set(shape, result.bytes)
        messages.set(shape, result.messages)
      }),
    )
  for (const config of shapesOf(timed)) {
    if (signal.aborted) return null
    const started = performance.now()
    const job = { kind: 'time', config: withThreads(config, timingThreads), warmUp: WARM_UP, steps: TIMED } as const
    const result = await attempt(job)
    if (result?.kind !== 'timing') continue
    const step = result.stepMs / 1000
    const start = Math.max(0, (performance.now() - started) / 1000 - (WARM_UP + TIMED) * step)
    timings.set(shapeOf(config), { start, step })
  }
  if (signal.aborted) return null
  const [failure] = failures.values()
  if (failure !== undefined && bytes.size === 0 && cells.length > 0)
    throw new RunError(`no arm can be trained: ${failure}`)
  return { paces, bytes, timings, messages, failures }
}

/** A configuration of each shape. */
const shapesOf = (cells: readonly Cell[]): RunConfig[] => [
  ...new Map(cells.map(({ config }) => [shapeOf(config), config])).values(),
]

/** Groups of configurations that are measured at the same time. The last group is filled up with repetitions. */
function roundsOf<T>(items: readonly T[], size: number): T[][] {
  if (items.length === 0) return []
  const rounds = Math.ceil(items.length / size)
  return Array.from({ length: rounds }, (_, round) =>
    Array.from({ length: size }, (_, i) => items[(round * size + i) % items.length] as T),
  )
}
