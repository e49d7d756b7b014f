/**
 * Finds the MPI library: by the path or name in `CHOIR_MPI`, or by the names under which the launcher's own library
 * is known to the system's loader.
 *
 * There are two families, because MPI fixes the functions but not their binary form: in Open MPI a communicator is
 * the address of an object, in MPICH (and Intel MPI, MVAPICH, Cray MPI) an integer. A library must be of the family
 * of its launcher; otherwise each process finds itself alone.
 */
import { UsageError } from '../../../core/errors.ts'
import { loadLibrary } from '../../native/ffi.ts'
import type { Launcher } from './world.ts'

export type Family = 'Open MPI' | 'MPICH'

export interface MpiLibrary {
  /** Path or name for the system's loader, valid on every thread. */
  readonly path: string
  readonly family: Family
}

const FAMILIES: readonly Family[] = ['Open MPI', 'MPICH']

const namesOf: Readonly<Record<Family, Partial<Record<NodeJS.Platform, readonly string[]>>>> = {
  'Open MPI': { linux: ['libmpi.so.40', 'libmpi.so'], darwin: ['libmpi.40.dylib', 'libmpi.dylib'] },
  MPICH: {
    linux: ['libmpich.so.12', 'libmpi.so.12', 'libmpich.so'],
    darwin: ['libmpi.12.dylib', 'libpmpi.12.dylib', 'libmpich.dylib'],
  },
}

const packageOf: Readonly<Record<Family, string>> = { 'Open MPI': 'openmpi-bin', MPICH: 'mpich' }

/**
 * Settings of UCX, which both families use for networks. It reads them when it is loaded. Its hooks on memory calls at
 * times crash V8 while it compiles. Its handler of segmentation faults ends the process for faults that V8 raises and
 * handles itself, such as an access past the end of a WASM memory.
 */
const ucxVariables = { UCX_MEM_EVENTS: 'n', UCX_HANDLE_ERRORS: 'none' }

/**
 * Over TCP, Open MPI by default sends a large message in one piece (`put`) once the receiver has asked for it. The
 * sender's own request for a message waits behind that piece, so two large messages in opposite directions may go one
 * after the other. Without `put` they are sent in short pieces, and both directions are used at once.
 */
const openMpiVariables = { OMPI_MCA_btl_tcp_flags: 'send,inplace,need-ack,need-csum' }

/**
 * Finds and loads the library. Call it on the main thread, before other threads load it: only there `process.env` is
 * the environment that native code reads, and a library that the main thread has loaded stays until the process ends.
 * @param given Path or name for the system's loader.
 * @throws UsageError if there is no MPI library, or none of the launcher's family.
 */
export function findMpi(launcher: Launcher, given: string | undefined = process.env.CHOIR_MPI): MpiLibrary {
  for (const [name, value] of Object.entries({ ...ucxVariables, ...openMpiVariables })) process.env[name] ??= value
  const families = launcher === 'Slurm' ? FAMILIES : [launcher]
  if (given) return checked(given, launcher, families)
  const names = families.flatMap((family) => namesOf[family][process.platform] ?? [])
  for (const path of names) {
    const found = inspect(path)
    if ('family' in found && families.includes(found.family)) return { path, family: found.family }
  }
  throw new UsageError(
    `this process was started by ${launcherName(launcher)}, but there is no library of ${families.join(' or ')} ` +
      `(tried ${names.join(', ') || `nothing on ${process.platform}`}): install ${families.join(' or ')} ` +
      `(Debian: apt-get install ${packageOf[families[0] as Family]}), or set CHOIR_MPI to the path of its libmpi`,
  )
}

function checked(path: string, launcher: Launcher, families: readonly Family[]): MpiLibrary {
  const found = inspect(path)
  const expected = `expected the path or name of a libmpi of ${families.join(' or ')}`
  if ('missing' in found) throw new UsageError(`invalid CHOIR_MPI: ${path} ${found.missing} (${expected})`)
  const { family } = found
  if (families.includes(family)) return { path, family }
  throw new UsageError(
    `invalid CHOIR_MPI: ${path} is of ${family}, but ${launcherName(launcher)} started this process ` +
      `(${expected}, or start with the mpirun of ${family})`,
  )
}

const launcherName = (launcher: Launcher): string => (launcher === 'Slurm' ? 'srun' : `the mpirun of ${launcher}`)

function inspect(path: string): { readonly family: Family } | { readonly missing: string } {
  let library: ReturnType<typeof loadLibrary>
  try {
    library = loadLibrary(path)
  } catch (error) {
    return { missing: `cannot be loaded: ${error instanceof Error ? error.message : error}` }
  }
  const has = (symbol: string): boolean => {
    try {
      library.symbol(symbol)
      return true
    } catch {
      return false
    }
  }
  if (!has('MPI_Init_thread')) return { missing: 'is not an MPI library' }
  return { family: has('ompi_mpi_comm_world') ? 'Open MPI' : 'MPICH' }
}
