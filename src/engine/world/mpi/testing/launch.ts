/** Starts small worlds with the launchers of this machine, for tests. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Family } from '../library.ts'

export const families: readonly Family[] = ['Open MPI', 'MPICH']

/** The launcher of each family that is installed. */
export const launchers = new Map<Family, string>()
for (const command of ['mpirun.openmpi', 'mpirun.mpich', 'mpirun']) {
  try {
    const text = execFileSync(command, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    const family = /Open MPI/.test(text) ? 'Open MPI' : /HYDRA/.test(text) ? 'MPICH' : undefined
    if (family && !launchers.has(family)) launchers.set(family, command)
  } catch {
    // This launcher is not installed.
  }
}

export interface Launch {
  readonly family: Family
  readonly ranks: number
  /** A scenario of program.mjs, and its arguments. */
  readonly scenario: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export interface Launched {
  /** Exit code of the launcher. */
  readonly code: number | null
  readonly stderr: string
  /** The result that each rank wrote, in the sequence of ranks; undefined for a rank that wrote nothing. */
  readonly results: readonly unknown[]
  readonly seconds: number
}

/**
 * Options of Open MPI. They allow more ranks than cores, on all cores; leave out the network, whose absence Open MPI
 * would report; and put shared memory in a folder that we remove, because Open MPI leaves it behind when a rank aborts.
 */
const openMpiOptions = (folder: string): string[] => [
  ...['--oversubscribe', '--bind-to', 'none', '--mca', 'btl', 'self,sm'],
  ...['--mca', 'btl_sm_backing_directory', folder],
]
/**
 * The command that starts a world: the launcher with its arguments, to be followed by the program and its arguments.
 */
export interface WorldCommand {
  readonly command: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

/** The command that starts a world of `ranks` ranks. @param folder Folder for shared memory. */
export function worldCommand(family: Family, ranks: number, folder: string): WorldCommand {
  return {
    command: launchers.get(family) as string,
    args: ['-n', String(ranks), ...(family === 'Open MPI' ? openMpiOptions(folder) : [])],
    // Without these variables, Open MPI refuses to run as root.
    env: { CHOIR_MPI: '', OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' },
  }
}

const LIMIT_MS = 60_000
const program = fileURLToPath(new URL('program.mjs', import.meta.url))

export async function launch({ family, ranks, scenario, args = [], env = {} }: Launch): Promise<Launched> {
  const folder = mkdtempSync(join(tmpdir(), 'choir-ranks-'))
  try {
    const world = worldCommand(family, ranks, folder)
    const node = [process.execPath, program, folder, scenario, ...args]
    const begin = performance.now()
    const child = spawn(world.command, [...world.args, ...node], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...world.env, ...env },
    })
    const { code, stderr } = await end(child)
    const seconds = (performance.now() - begin) / 1000
    const results = Array.from({ length: ranks }, (_, rank) => {
      try {
        return JSON.parse(readFileSync(join(folder, `${rank}.json`), 'utf8')) as unknown
      } catch {
        return undefined
      }
    })
    return { code, stderr, results, seconds }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function end(child: ChildProcess): Promise<Pick<Launched, 'code' | 'stderr'>> {
  return new Promise((resolve, reject) => {
    let stderr = ''
    child.stderr?.on('data', (data) => {
      stderr += data
    })
    // Launchers end their ranks when they are asked to end.
    const timer = setTimeout(() => child.kill('SIGTERM'), LIMIT_MS)
    child.on('error', reject)
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({ code, stderr })
    })
  })
}
