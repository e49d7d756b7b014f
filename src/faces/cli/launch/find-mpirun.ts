/** Finds mpirun and the MPI library that it belongs to, since its options differ between libraries. */
import { UsageError } from '../../../core/errors.ts'
import { libraryNames, type MpiLibrary } from '../../../tools/launch/mpirun.ts'
import type { Io } from '../io.ts'

export interface FoundMpirun {
  readonly library: MpiLibrary
  /** Name of the program on the path. */
  readonly mpirun: string
}

/** Names of mpirun. Debian can have both libraries side by side, and its `mpirun` belongs to one of them. */
const names: Readonly<Record<MpiLibrary, readonly string[]>> = {
  openmpi: ['mpirun', 'mpirun.openmpi'],
  mpich: ['mpirun', 'mpirun.mpich', 'mpiexec.hydra'],
}

/** Finds an mpirun, of the library `wanted` if it is given; undefined if there is no such mpirun. */
export async function findMpirun(io: Io, wanted: MpiLibrary | undefined): Promise<FoundMpirun | undefined> {
  for (const mpirun of new Set(wanted ? names[wanted] : [...names.openmpi, ...names.mpich])) {
    const { text } = await io.runProgram([mpirun, '--version'])
    const library = libraryOf(text)
    if (library && (wanted ?? library) === library) return { library, mpirun }
  }
  return undefined
}

/** @param version Output of `mpirun --version`. */
function libraryOf(version: string): MpiLibrary | undefined {
  if (/Open MPI/.test(version)) return 'openmpi'
  return /HYDRA build details/.test(version) ? 'mpich' : undefined
}

export function missingMpirun(wanted: MpiLibrary | undefined): UsageError {
  const library = wanted ? libraryNames[wanted] : 'Open MPI or MPICH'
  const debian = wanted === 'mpich' ? 'mpich' : 'openmpi-bin'
  const brew = wanted === 'mpich' ? 'mpich' : 'open-mpi'
  const other = wanted ? 'add --print' : 'add --print --mpi openmpi or mpich'
  return new UsageError(
    `no mpirun of ${library} found (install it: "apt-get install ${debian}" on Debian and Ubuntu, "brew install ${brew}" ` +
      `on macOS; to print the command for another machine, ${other})`,
  )
}
