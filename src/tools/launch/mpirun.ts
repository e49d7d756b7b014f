/**
 * The command line of `mpirun` for a layout. Open MPI and MPICH differ in their options, in their default binding and
 * in the variables that reach other hosts.
 *
 *     // a:4,b:4 with 2 threads a rank, as root
 *     Open MPI: OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
 *               mpirun --host a:4,b:4 -n 8 --map-by slot:PE=2 --bind-to core PROGRAM
 *     MPICH:    mpirun -hosts a:4,b:4 -n 8 -bind-to core:2 PROGRAM
 */
import { commandLine } from '../../core/text/shell.ts'
import type { HostSlots, Layout } from './layout.ts'

export const mpiLibraries = ['openmpi', 'mpich'] as const
export type MpiLibrary = (typeof mpiLibraries)[number]

export const libraryNames: Readonly<Record<MpiLibrary, string>> = { openmpi: 'Open MPI', mpich: 'MPICH' }

/** Two variables without which Open MPI refuses to run as root. */
export const rootVariables = { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' }

export interface MpirunSettings {
  readonly library: MpiLibrary
  /** Path or name of mpirun. */
  readonly mpirun: string
  /** Names of variables that all ranks need; MPICH passes all variables on anyway. */
  readonly variables?: readonly string[]
}

/** `mpirun` and its options; the program of the ranks follows. */
export function mpirunWords(layout: Layout, { library, mpirun, variables = [] }: MpirunSettings): string[] {
  const { hosts, ranks, threads, bound, oversubscribe } = layout
  const isOpenMpi = library === 'openmpi'
  const where = hosts ? [isOpenMpi ? '--host' : '-hosts', hostList(hosts)] : []
  const head = [mpirun, ...where, '-n', String(ranks)]
  if (!isOpenMpi) return [...head, '-bind-to', bound ? `core:${threads}` : 'none']
  return [
    ...head,
    // By default, Open MPI binds each of two ranks to one core, however many threads it has. PE is the number of cores.
    ...(bound ? ['--map-by', `slot:PE=${threads}`, '--bind-to', 'core'] : ['--bind-to', 'none']),
    ...(oversubscribe ? ['--oversubscribe'] : []),
    ...variables.flatMap((name) => ['-x', name]),
  ]
}

/** Variables that mpirun itself needs. */
export const mpirunVariables = (library: MpiLibrary, isRoot: boolean): Readonly<Record<string, string>> =>
  library === 'openmpi' && isRoot ? rootVariables : {}

/** A command line with variables, to paste into a shell. */
export function pastable(variables: Readonly<Record<string, string>>, words: readonly string[]): string {
  return [...Object.entries(variables).map(([name, value]) => `${name}=${value}`), commandLine(words)].join(' ')
}

const hostList = (hosts: readonly HostSlots[]): string => hosts.map(({ name, slots }) => `${name}:${slots}`).join(',')
