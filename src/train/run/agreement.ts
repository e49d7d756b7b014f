/**
 * How the ranks of a training act as one: the first rank decides and the others learn its result, and facts that must
 * be equal are compared before the first step. Without other ranks nothing is exchanged.
 */
import { RunError, textOf, UsageError, type Wording } from '../../core/errors.ts'
import { gatherJson, type Ranks, sumOverRanks } from '../../engine/contract/ranks.ts'

/** Message and kind of an error, to throw the same error on every rank. */
interface Failure {
  readonly usage: boolean
  readonly message: Wording
}

type Outcome<T> = { readonly value: T } | { readonly failure: Failure }

/**
 * Runs `work` on the first rank; all ranks return its result, which must be JSON or undefined, or throw its error.
 */
export async function fromFirst<T>(ranks: Ranks | null, work: () => T | Promise<T>): Promise<T> {
  if (!ranks) return work()
  const own: Outcome<T> | null = ranks.rank === 0 ? await attempt(work) : null
  const [outcome] = (await gatherJson(ranks, own)) as [Outcome<T>]
  if ('failure' in outcome) throw errorOf(outcome.failure)
  return outcome.value
}

/**
 * Runs `work` on every rank; if any throws, all throw the error of the first of them. The error has the rank, unless
 * all ranks have the same error. Returns the result of this rank.
 */
export async function together<T>(ranks: Ranks | null, work: () => T | Promise<T>): Promise<T> {
  if (!ranks) return work()
  const own = await attempt(work)
  const all = await gatherJson(ranks, 'failure' in own ? own.failure : null)
  const rank = all.findIndex((failure) => failure !== null)
  const failure = all[rank]
  if (!failure) return (own as { value: T }).value
  throw errorOf(
    failure,
    all.every((other) => other && textOf(other.message) === textOf(failure.message)) ? {} : { rank },
  )
}

async function attempt<T>(work: () => T | Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await work() }
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof RunError)) throw error
    return { failure: { usage: error instanceof UsageError, message: error.wording } }
  }
}

/** An error that every rank has thrown. */
export interface SharedError {
  /**
   * The rank that had the error, if not all had it: because of a full disk, for example, or a file that it does not
   * see.
   */
  readonly rank?: number
}

const shared = new WeakMap<Error, SharedError>()

function errorOf({ usage, message }: Failure, of: SharedError = {}): Error {
  const error = new (usage ? UsageError : RunError)(message)
  shared.set(error, of)
  return error
}

/**
 * Defined if every rank has thrown this error: then the job ends in an orderly way, with a message of the first rank.
 */
export const sharedError = (error: unknown): SharedError | undefined =>
  error instanceof Error ? shared.get(error) : undefined

/**
 * Compares facts that must be equal on all ranks.
 * @param facts Values by their names for people: `configuration`, `Choir's version`, ...
 * @throws UsageError naming the fact and two ranks that differ
 */
export async function refuseDifferences(
  ranks: Ranks | null,
  facts: Readonly<Record<string, string | number>>,
): Promise<void> {
  if (!ranks) return
  const all = await gatherJson(ranks, facts)
  for (const [name, value] of Object.entries(all[0] ?? {})) {
    const other = all.findIndex((of) => of[name] !== value)
    if (other > 0)
      throw errorOf({
        usage: true,
        message: [
          `${name} differs between ranks: ${value} on rank 0, ${all[other]?.[name]} on rank ${other} (start all ranks ` +
            'with the same program, arguments and libraries)',
        ],
      })
  }
}

/** Whether any rank has been asked to stop. */
export async function isAborted(
  ranks: Ranks | null,
  signal: { readonly aborted: boolean } | undefined,
): Promise<boolean> {
  const own = signal?.aborted ? 1 : 0
  return (await sumOverRanks(ranks, Float64Array.of(own)))[0] !== 0
}
