/**
 * Runs a job, and after a failure continues the run, a limited number of times. This process is not part of the job, so
 * it survives whatever kills the ranks, and can report their failure.
 *
 *     attempt ── code 0, last step ──► done            stopped by a signal, or code 130 ──► stopped
 *        ▲ └──── code 2 ──► wrong usage                otherwise: failed
 *        └─ pause ◄─ hosts left ◄─ restarts left ◄──────────┘
 *
 * A failure that follows from what the run computes is not repeated more than once: runs are reproducible.
 *
 * The exit code alone does not prove success: mpirun of MPICH has ended with 0 after a rank was killed.
 */
import { plural } from '../../core/text/numbers.ts'
import { failureText, type KnownFailure } from './failure.ts'
import { type Layout, type Parallel, withoutHosts } from './layout.ts'

export interface JobEnd {
  /** Exit code; null after a signal. */
  readonly code: number | null
  readonly signal?: string
  /** The last text that the job wrote to standard error. */
  readonly text: string
}

/** Everything that supervision needs from outside. */
export interface Supervised {
  /** Runs the job until its end. `continued` is false if it does what an earlier attempt has not done: see `begun`. */
  run(layout: Layout, continued: boolean): Promise<JobEnd>
  /**
   * Whether an attempt only needs to continue the run from its newest checkpoint: the run has a configuration on disk,
   * and has gone back to an earlier checkpoint if it was to.
   */
  begun(): Promise<boolean>
  /** Whether the run has done its last step, or is not visible from here. */
  finished(): Promise<boolean>
  findFailure(end: JobEnd): Promise<KnownFailure>
  /** Step of the newest checkpoint, from which the run would continue; 0 without one. */
  checkpoint(): Promise<number>
  /** Returns the hosts that do not answer. */
  unreachable(hosts: readonly string[]): Promise<readonly string[]>
  /** Waits a short time between attempts; ends early when stopped. */
  pause(): Promise<void>
  /** Whether the user or the system has asked to stop. */
  stopped(): boolean
  report(message: string): void
}

export type Outcome =
  | { readonly kind: 'done' | 'stopped' | 'usage' }
  | { readonly kind: 'failed'; readonly failure: string }

/**
 * @param parallel settings that the number of ranks must fit; a run keeps the shards that it started with
 */
export async function runWithRestarts(
  first: Layout,
  { restarts, parallel }: { restarts: number; parallel: Parallel },
  job: Supervised,
): Promise<Outcome> {
  const { expert, shards = first.ranks } = parallel
  let layout = first
  let computed: string | null = null
  for (let restart = 0; ; restart++) {
    const end = await job.run(layout, restart > 0 && (await job.begun()))
    if (end.code === 0 && (await job.finished())) return { kind: 'done' }
    if (job.stopped() || end.code === 130) return { kind: 'stopped' }
    if (end.code === 2) return { kind: 'usage' }
    const found = await job.findFailure(end)
    const failure = `${failureText(found)} (mpirun ended with ${endText(end)})`
    if (restart === restarts) return { kind: 'failed', failure }
    const before: string | null = computed
    // The reason may name ranks by their processes, which are others in each attempt.
    const reason = found.reason?.replaceAll(/PID \d+/g, 'PID')
    computed = found.computed ? `step ${await job.checkpoint()}: ${reason}` : null
    if (computed !== null && computed === before)
      return {
        kind: 'failed',
        failure: `${failure}; this is the same error from the same checkpoint as before, so another restart would repeat it`,
      }
    job.report(failure)
    const gone = await job.unreachable(layout.hosts?.map(({ name }) => name) ?? [])
    const left = withoutHosts(layout, new Set(gone), { expert, shards })
    if (gone.length > 0) job.report(`no answer from ${gone.join(', ')}`)
    if (left === null)
      return {
        kind: 'failed',
        failure: `${failure}; the hosts that are left have too few slots for groups of ${expert}`,
      }
    layout = left
    await job.pause()
    if (job.stopped()) return { kind: 'stopped' }
    const action = (await job.begun()) ? 'continuing' : 'starting again'
    job.report(`${action} with ${plural(layout.ranks, 'rank')} (restart ${restart + 1} of ${restarts})`)
  }
}

function endText({ code, signal }: JobEnd): string {
  if (code === null) return `signal ${signal}`
  return code === 0 ? 'exit code 0 before the last step' : `exit code ${code}`
}
