/**
 * Files of a run on several ranks, for programs that watch the job:
 *
 *     ranks.json      the processes, in the order of ranks: { "ranks": [{ "rank": 0, "host": "a", "pid": 42 }, ...] }
 *     failure.json    which rank failed first, and why: { "rank": 1, "host": "b", "pid": 4711, "reason": "..." }, with
 *                     "computed": true if the reason follows from what the run computes
 *
 * Both belong to one job: the next job removes them. A rank that is killed may leave a truncated file, and a full disk
 * an empty file; a damaged file counts as missing.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { RankIdentity } from '../../../core/text/rank-name.ts'
import { removeFile } from '../../system/disk.ts'
import { CONFIG_BYTES, readText } from '../../system/read-text.ts'

export const RANKS_FILE = 'ranks.json'
export const FAILURE_FILE = 'failure.json'

export interface RankFailure extends RankIdentity {
  /**
   * Whether the reason follows from what the run computes, such as memory that a layer needs. The same run, from the
   * same checkpoint, then fails in the same way again. Missing if not.
   */
  readonly computed?: boolean | undefined
  readonly reason: string
}

const count = z.int().nonnegative()
const identitySchema = z.object({ rank: count, host: z.string(), pid: count })
const ranksSchema = z.object({
  ranks: z.array(identitySchema).refine((ranks) => ranks.every(({ rank }, index) => rank === index)),
})
const failureSchema = identitySchema.extend({ computed: z.boolean().optional(), reason: z.string() })

/** Path of the `failure.json` of a run. */
export const failureFile = (directory: string): string => join(directory, FAILURE_FILE)

/** The contents of `ranks.json`. */
export const ranksText = (roster: readonly RankIdentity[]): string =>
  `${JSON.stringify({ ranks: roster.map(({ rank, host, pid }) => ({ rank, host, pid })) })}\n`

/** The contents of `failure.json`, which ends with the reason. */
export const failureText = ({ rank, host, pid }: RankIdentity, reason: string, computed = false): string =>
  `${JSON.stringify({ rank, host, pid, ...(computed && { computed }), reason })}\n`

/** The processes in a `ranks.json`; empty if it is damaged. */
export function parseRanks(text: string): readonly RankIdentity[] {
  return parsed(ranksSchema, text)?.ranks ?? []
}

/** The processes of the last job in a run directory; empty if they are unknown. */
export async function readRanks(directory: string): Promise<readonly RankIdentity[]> {
  return parseRanks(await textOf(join(directory, RANKS_FILE)))
}

/** The failure in a `failure.json`; null if it is damaged. */
export const parseFailure = (text: string): RankFailure | null => parsed(failureSchema, text)

/** The first failure of the last job in a run directory; null if none was recorded. */
export async function readFailure(directory: string): Promise<RankFailure | null> {
  return parseFailure(await textOf(failureFile(directory)))
}

/**
 * Records why a rank ends the job, if it is the first one to fail.
 * @param computed See {@link RankFailure.computed}.
 */
export function writeFailure(directory: string, identity: RankIdentity, reason: string, computed = false): void {
  // If there is no run yet, the directory stays free for the next attempt.
  if (!existsSync(join(directory, 'config.json'))) return
  try {
    writeFileSync(failureFile(directory), failureText(identity, reason, computed), { flag: 'wx' })
  } catch {
    // Another rank has failed before, or the disk is full: the message is printed anyway.
  }
}

/** Removes the files of an earlier job. @throws RunError if one of them is a folder, or may not be removed */
export async function removeRankFiles(directory: string): Promise<void> {
  for (const name of [RANKS_FILE, FAILURE_FILE]) await removeFile(join(directory, name))
}

/** The text of a file; empty if the file does not exist or cannot be read. */
const textOf = (path: string): Promise<string> => readText(path, CONFIG_BYTES).catch(() => '')

function parsed<T>(schema: z.ZodType<T>, text: string): T | null {
  try {
    return schema.parse(JSON.parse(text))
  } catch {
    return null
  }
}
