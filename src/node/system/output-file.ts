/** Writes files that a user names for results. They are checked before the work that computes the results. */
import { open, realpath, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { option, RunError, UsageError, wording } from '../../core/errors.ts'
import { errorCode, makeFolder, removeEmptyFolders, replaceFile } from './disk.ts'

/**
 * Checks that a file can be written, and leaves everything as it is.
 * @param name The option that names the file, for messages.
 * @throws UsageError if it is a folder; RunError if it or its folder cannot be written
 */
export async function expectWritable(name: string, file: string): Promise<void> {
  const existing = await stat(file).catch(() => null)
  if (existing?.isDirectory() || /[\\/]$/.test(file))
    throw new UsageError(wording`invalid ${option(name)}: "${file}" is a folder (expected a file)`)
  // Opening a pipe waits for its reader.
  if (existing && !existing.isFile()) return
  let created: string[] = []
  try {
    created = await makeFolder(dirname(resolve(file)))
    await (await open(file, 'a')).close()
    if (!existing) await rm(file)
  } catch (error) {
    throw new RunError(
      wording`invalid ${option(name)}: cannot write "${file}": ${(error as Error).message} (choose another file)`,
    )
  } finally {
    await removeEmptyFolders(created)
  }
}

/**
 * Writes a file of results atomically. A device or pipe is written to and not replaced; through a link, its target is
 * replaced.
 * @throws RunError if that is impossible
 */
export async function writeOutput(file: string, contents: string): Promise<void> {
  try {
    await makeFolder(dirname(resolve(file)))
    const existing = await stat(file).catch((error: unknown) => {
      if (errorCode(error) !== 'ENOENT') throw error
      return null
    })
    if (existing && !existing.isFile()) await writeFile(file, contents)
    else await replaceFile(existing ? await realpath(file) : file, contents)
  } catch (error) {
    throw error instanceof RunError ? error : new RunError(`cannot write ${file}: ${(error as Error).message}`)
  }
}
