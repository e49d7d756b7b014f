/**
 * A process's place among the processes that a launcher (`mpirun`, `srun`) started together, its *world*.
 *
 * Launchers pass the place in environment variables, so it is known before any library is loaded. That order matters: a
 * library that does not fit its launcher finds a world of one rank without complaint, and only the size in the
 * variables shows the mistake. A process that no launcher started has no world, and a world of one rank counts as none:
 * neither loads a library.
 *
 *     mpirun -n 4 node train.js   worldOf(process.env) is { launcher: 'Open MPI', rank: 2, size: 4, ... }
 *     node train.js               worldOf(process.env) is null
 */
import { UsageError } from '../../../core/errors.ts'

export type Launcher = 'Open MPI' | 'MPICH' | 'Slurm'

export interface World {
  readonly launcher: Launcher
  /** Number of this process in the world, from 0 to size − 1. */
  readonly rank: number
  /** Number of ranks, at least 2. */
  readonly size: number
  /** Number of this process among the ranks on this machine, from 0. */
  readonly localRank: number
  /** Number of ranks on this machine. */
  readonly localSize: number
}

type Variables = Readonly<Record<string, string | undefined>>

/** Names of the variables of a launcher; of several names, the first that is set counts. */
interface Names {
  readonly size: readonly string[]
  readonly rank: readonly string[]
  readonly localSize: readonly string[]
  readonly localRank: readonly string[]
}

const namesOf: Readonly<Record<Launcher, Names>> = {
  'Open MPI': {
    size: ['OMPI_COMM_WORLD_SIZE'],
    rank: ['OMPI_COMM_WORLD_RANK'],
    localSize: ['OMPI_COMM_WORLD_LOCAL_SIZE'],
    localRank: ['OMPI_COMM_WORLD_LOCAL_RANK'],
  },
  // Hydra is the launcher of MPICH and of its descendants. The first two variables are those of PMI.
  MPICH: {
    size: ['PMI_SIZE'],
    rank: ['PMI_RANK'],
    localSize: ['MPI_LOCALNRANKS'],
    localRank: ['MPI_LOCALRANKID'],
  },
  Slurm: {
    size: ['SLURM_STEP_NUM_TASKS', 'SLURM_NTASKS'],
    rank: ['SLURM_PROCID', 'PMIX_RANK'],
    localSize: [],
    localRank: ['SLURM_LOCALID'],
  },
}

/**
 * The world of a process; null if there is none.
 * @throws UsageError if the variables of a launcher are contradictory.
 */
export function worldOf(env: Variables): World | null {
  const launcher = launcherOf(env)
  if (!launcher) return null
  const names = namesOf[launcher]
  const size = integer(env, names.size, 1, Number.MAX_SAFE_INTEGER)
  if (size === 1) return null
  const rank = integer(env, names.rank, 0, size - 1)
  const localSize =
    launcher === 'Slurm'
      ? slurmLocalSize(env, size)
      : isSet(env, names.localSize)
        ? integer(env, names.localSize, 1, size)
        : 1
  const localRank = isSet(env, names.localRank) ? integer(env, names.localRank, 0, localSize - 1) : 0
  return { launcher, rank, size, localRank, localSize }
}

/**
 * The innermost launcher. Within a Slurm job, `mpirun` starts its own helpers by `srun`, so the variables of Slurm
 * describe those helpers; and `srun --mpi=pmi2` sets two of the variables of Hydra.
 */
function launcherOf(env: Variables): Launcher | undefined {
  const { size, rank, localRank } = namesOf.MPICH
  if (env.OMPI_COMM_WORLD_SIZE !== undefined) return 'Open MPI'
  if (isSet(env, size) && isSet(env, localRank)) return 'MPICH'
  // A batch script has the size of its job, but is not itself one of the processes that srun starts.
  if (env.SLURM_STEP_ID !== undefined && isSet(env, namesOf.Slurm.size)) return 'Slurm'
  if (isSet(env, size) && isSet(env, rank)) return 'MPICH'
  return undefined
}

const isSet = (env: Variables, names: readonly string[]): boolean => names.some((name) => env[name] !== undefined)

function integer(env: Variables, names: readonly string[], min: number, max: number): number {
  const name = names.find((each) => env[each] !== undefined)
  if (name === undefined) throw new UsageError(`${names.join(' or ')} is not set, but the launcher should have set it`)
  const text = env[name] as string
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
  throw new UsageError(`invalid ${name}: ${text} (expected an integer ${range}, as the launcher sets it)`)
}

/** Number of ranks on this machine by Slurm, which lists the tasks of each node, such as `2(x3),1`. */
function slurmLocalSize(env: Variables, size: number): number {
  const name = 'SLURM_STEP_TASKS_PER_NODE'
  const text = env[name] ?? env.SLURM_TASKS_PER_NODE
  if (text === undefined) return 1
  const tasks = text.split(',').flatMap((part) => {
    const [, count, nodes] = /^(\d+)(?:\(x(\d+)\))?$/.exec(part) ?? []
    if (count === undefined) throw new UsageError(`invalid ${name}: ${text} (expected tasks of each node, as 2(x3),1)`)
    return Array<number>(Math.min(size, Number(nodes ?? 1))).fill(Number(count))
  })
  const node = env.SLURM_NODEID === undefined ? 0 : integer(env, ['SLURM_NODEID'], 0, tasks.length - 1)
  return tasks[node] as number
}
