/** Joins the other ranks of a job, if a launcher has started this process as one of several. */
import { availableParallelism, cpus } from 'node:os'
import type { Ranks } from '../../engine/contract/ranks.ts'
import { physicalCores } from '../../engine/native/cores.ts'
import { worldOf } from '../../engine/world/mpi/world.ts'

export interface JoinOptions {
  /** Path or name of the MPI library. */
  readonly library?: string | undefined
  /** Seconds that a rank waits for another rank before it ends the job. */
  readonly deadline?: number | undefined
  /** Called before all ranks are ended because this one ends without having closed them, e.g. by an uncaught error. */
  readonly onEarlyExit?: (reason: string) => void
}

/** Ranks of MPI. All processes close them together, after their last call. */
export interface ClosableRanks extends Ranks {
  close(): Promise<void>
  /** Prints a message and ends all ranks. */
  abort(message: string, code: number): never
}

/**
 * The ranks of the job; null for a process of its own, for which MPI is not loaded.
 * @throws UsageError if the MPI library is missing or is not the library of the launcher
 */
export async function joinRanks(
  env: Readonly<Record<string, string | undefined>>,
  { library, deadline, onEarlyExit }: JoinOptions = {},
): Promise<ClosableRanks | null> {
  const world = worldOf(env)
  if (!world) return null
  const { Ranks } = await import('../../engine/world/mpi/ranks.ts')
  return Ranks.start({ world, library, deadlineSeconds: deadline, ...(onEarlyExit && { onEarlyExit }) })
}

/**
 * Number of threads of each rank, if the configuration does not set it: the number of cores that a launcher has bound
 * the rank to, or an equal share of the cores of its machine. All ranks take the smallest number of any rank.
 */
export async function threadsPerRank(ranks: Ranks): Promise<number> {
  const { host } = ranks.roster[ranks.rank] ?? {}
  const here = ranks.roster.filter((other) => other.host === host).length
  const isBound = availableParallelism() < cpus().length
  const own = isBound ? physicalCores() : Math.max(1, Math.floor(physicalCores() / here))
  return Math.min(...(await ranks.allGather(Float64Array.of(own))))
}
