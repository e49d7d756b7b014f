/** Runs a command as one of several ranks: only the first rank prints, and all ranks end together. */
import { Option } from 'commander'
import { RunError, UsageError } from '../../core/errors.ts'
import { type RankIdentity, rankName } from '../../core/text/rank-name.ts'
import { commandLine, quoted } from '../../core/text/shell.ts'
import { writeFailure } from '../../node/run/ranks/files.ts'
import { type RankWatch, watchRank } from '../../node/run/ranks/watch.ts'
import type { ClosableRanks } from '../../node/train/ranks.ts'
import { formatError } from './format-error.ts'
import { colorsFor, Interrupted, type Io, Reported } from './io.ts'
import { numberOption, ranges } from './options.ts'

export interface RankFlags {
  /** Path or name of the MPI library. It may differ between ranks, which may run on different machines. */
  readonly mpi?: string
  /** Number of the GPU of this rank. */
  readonly gpu?: number
  readonly deadline?: number
}

export const mpiOption = (): Option =>
  new Option('--mpi <library>', 'MPI library of ranks, a path or name (default: CHOIR_MPI, or that of the launcher)')

export const deadlineOption = (): Option =>
  numberOption(
    '--deadline <seconds>',
    'time that a rank waits for another before it ends the job (default: 600)',
    ranges.positive,
  )

/** Arguments and options of a rank. All ranks must have the same ones, since the first rank decides for all. */
export interface GivenToRank {
  /** Arguments of the command that are not options. */
  readonly words: readonly (string | undefined)[]
  readonly flags: RankFlags
}

/**
 * Names of the environment variables of Choir that are set, such as CHOIR_DNNL. All ranks need the same values, except
 * for CHOIR_MPI, a path that may differ between machines, and CHOIR_GPU.
 */
export const choirVariables = (env: Readonly<Record<string, string | undefined>>): string[] =>
  Object.keys(env)
    .filter((name) => /^CHOIR_\w+$/.test(name) && env[name] !== undefined)
    .sort()

/**
 * Command line and environment of a rank as text, by their names in messages. Options are sorted by name. The MPI
 * library and the GPU are left out, since they may differ between ranks.
 */
function factsOfRank({ words, flags }: GivenToRank, env: Io['env']): Record<string, string> {
  const { mpi: _, gpu: __, ...compared } = flags
  const options = Object.entries(compared)
    .filter(([, value]) => value !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, value]) =>
      optionWords(
        name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
        value,
      ),
    )
  const given = [...words.filter((word) => word !== undefined), ...options]
  const variables = choirVariables(env).filter((name) => name !== 'CHOIR_MPI' && name !== 'CHOIR_GPU')
  return {
    'the command line': given.length > 0 ? commandLine(given) : 'no arguments',
    'the environment': variables.map((name) => `${name}=${quoted(env[name] ?? '')}`).join(' ') || 'no CHOIR_ variables',
  }
}

function optionWords(name: string, value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap((each) => optionWords(name, each))
  if (typeof value === 'boolean') return [value ? `--${name}` : `--no-${name}`]
  return [`--${name}`, String(value)]
}

/** Time in which the first rank can report an error that all ranks have, before another rank ends the job. */
const FIRST_REPORTS_MS = 300

/** The ranks, the streams and the watch of a command that runs as a rank. */
export interface RankContext {
  readonly ranks: ClosableRanks
  /** `Io` whose streams do not count as terminals: some launchers give ranks a terminal that nobody may look at. */
  readonly io: Io
  /** Call it once the run directory is known: if this rank is killed, its end is recorded there and reported. */
  watch(directory: string): void
}

/**
 * Runs `work` with the ranks of the job, or with null in a process that was started alone. An error that all ranks
 * throw is printed by the first rank; if it arose on one rank, the message names that rank. Any other error ends all
 * ranks at once, with a message that names the rank. Ranks with different arguments or environments are refused before
 * any work.
 */
export async function withRanks(
  io: Io,
  given: GivenToRank,
  verbose: boolean,
  work: (context: RankContext | null) => Promise<void>,
): Promise<void> {
  let recorded: (reason: string) => void = () => {}
  const onEarlyExit = (reason: string) => recorded(reason)
  const { mpi, deadline } = given.flags
  const ranks = await io.operations.joinRanks(io.env, { library: mpi, deadline, onEarlyExit })
  if (!ranks) return work(null)
  const { rank, size, roster } = ranks
  const identity = roster[rank] as RankIdentity
  const neighbours = roster.filter(({ host }, other) => other !== rank && host === identity.host).map(({ pid }) => pid)
  let run: { readonly directory: string; readonly watch: RankWatch } | null = null
  const watch = (directory: string) => {
    const resume = `${io.self} train --resume ${quoted(directory)}`
    run = { directory, watch: watchRank(identity, size, directory, resume, neighbours) }
  }
  const watched = () => run as typeof run | null
  /** Records a failure in the run directory. It must be called before all ranks are ended. */
  const record = (reason: string, of = identity, computed = false) => {
    const { directory, watch: watching } = watched() ?? {}
    if (directory !== undefined) writeFailure(directory, of, reason, computed)
    watching?.release()
  }
  recorded = (reason) => record(reason)
  const onInterrupt: Io['onInterrupt'] = (handler) =>
    io.onInterrupt(() => {
      watched()?.watch.stopping()
      handler()
    })
  try {
    await io.operations.refuseDifferences(ranks, factsOfRank(given, io.env))
    await work({ ranks, watch, io: { ...io, onInterrupt, env: { ...io.env, TERM: 'dumb' } } })
    await ranks.close()
  } catch (error) {
    if (error instanceof Interrupted) {
      await ranks.close()
      throw error
    }
    const code = error instanceof UsageError ? 2 : 1
    const prefix = colorsFor(io.stderr, io.env).red('choir:')
    const shared = await io.operations.sharedError(error)
    if (shared) {
      if (rank === 0) {
        const failed = shared.rank === undefined ? undefined : roster[shared.rank]
        const title = failed ? `${rankName(failed, size)}: ` : ''
        io.stderr.write(`${prefix} ${title}${formatError(error, verbose)}\n`)
        if (failed && code !== 2) record(formatError(error, false), failed)
      }
      await ranks.close()
      throw new Reported(code)
    }
    if (rank > 0) await new Promise((resolve) => setTimeout(resolve, FIRST_REPORTS_MS))
    record(formatError(error, false), identity, error instanceof RunError && error.isComputed)
    ranks.abort(`${prefix} ${rankName(identity, size)}: ${formatError(error, verbose)}`, code)
  } finally {
    watched()?.watch.release()
  }
}
