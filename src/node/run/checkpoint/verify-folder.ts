/** Checks a checkpoint on the disk. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ForbiddenFile, MissingFile, type Verdict, verify } from '../../../train/run/checkpoint/verify.ts'
import { checksum, errorCode } from '../../system/disk.ts'
import { JSON_BYTES, readText } from '../../system/read-text.ts'

/**
 * Verifies the checkpoint in a folder.
 * @param depth See {@link verify}.
 * @throws RunError if a file may not be read; the reason of the signal if it is aborted
 */
export async function verifyFolder(
  path: string,
  step: number,
  depth: 'sizes' | 'contents',
  signal?: AbortSignal,
): Promise<Verdict> {
  const reading =
    <T>(read: (file: string) => Promise<T>) =>
    (name: string): Promise<T> =>
      read(join(path, name)).catch((error: unknown) => {
        const code = errorCode(error)
        if (code === 'EACCES' || code === 'EPERM')
          throw new ForbiddenFile(`cannot read ${join(path, name)}: permission denied`)
        throw code === 'ENOENT' ? new MissingFile(name) : error
      })
  const files = {
    text: reading((file) => readText(file, JSON_BYTES)),
    size: reading(async (file) => (await stat(file)).size),
    sum: reading((file) => checksum(file, signal)),
  }
  const verdict = await verify(files, step, depth)
  // If the reading was aborted, the verdict would be wrong: a file that was not read to its end is not damaged.
  signal?.throwIfAborted()
  return verdict
}
