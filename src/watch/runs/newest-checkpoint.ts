import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { newestFolder } from '../../run/checkpoint/checkpoint.ts'

/**
 * What tells the newest checkpoint of a run, by its name, from every other, also of the same step: a run that was made
 * anew has such. Null where there is none.
 */
export async function newestCheckpoint(directory: string): Promise<string | null> {
  const folder = await newestFolder(join(directory, 'checkpoints')).catch(() => undefined)
  const found = folder && (await stat(folder).catch(() => undefined))
  return found ? `${basename(folder)} ${found.ino} ${found.mtimeMs}` : null
}
