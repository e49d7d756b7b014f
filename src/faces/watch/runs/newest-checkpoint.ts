import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { newestFolder } from '../../../node/run/checkpoint/checkpoint.ts'

/**
 * A key of the newest checkpoint of a run; null without one. It differs even between checkpoints of the same step,
 * which a recreated run has.
 */
export async function newestCheckpointKey(directory: string): Promise<string | null> {
  const folder = await newestFolder(join(directory, 'checkpoints')).catch(() => undefined)
  const found = folder && (await stat(folder).catch(() => undefined))
  return found ? `${basename(folder)} ${found.ino} ${found.mtimeMs}` : null
}
