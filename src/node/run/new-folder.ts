/**
 * Writes a folder of results so that it appears whole or not at all: it is written under a hidden name beside its
 * place, and renamed when everything is written and checked.
 */
import { mkdir, readdir, rename, rm, rmdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { option, UsageError, wording } from '../../core/errors.ts'
import type { Checked } from '../../train/run/checkpoint/description.ts'
import type { OutputFile } from '../../train/run/checkpoint/safetensors.ts'
import { errorCode, makeFolder, removeEmptyFolders, syncFolder, writeError } from '../system/disk.ts'
import { writeChecked } from './checkpoint/checked-file.ts'

/** Checks that a folder is new or empty. @throws UsageError if it has files, or is a file */
export async function checkIsFree(folder: string): Promise<void> {
  const refuse = (what: string) =>
    new UsageError(
      wording`invalid ${option('out')}: ${JSON.stringify(folder)} ${what} (expected a new or an empty folder)`,
    )
  const found = await stat(folder).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return null
    throw refuse(`cannot be used: ${(error as Error).message}`)
  })
  if (found && !found.isDirectory()) throw refuse('is a file')
  if (found && (await readdir(folder)).length > 0) throw refuse('is not empty')
}

/** A folder that is being written. */
export class NewFolder {
  readonly path: string
  /** Path of the folder with its final name. */
  private readonly target: string
  /** Folders around the target that did not exist. */
  private readonly created: readonly string[]

  private constructor(target: string, path: string, created: readonly string[]) {
    this.target = target
    this.path = path
    this.created = created
  }

  /** Makes the hidden folder. @throws UsageError as {@link checkIsFree}; RunError if nothing can be written there */
  static async begin(target: string): Promise<NewFolder> {
    await checkIsFree(target)
    const path = join(dirname(target), `.${basename(target)}.writing`)
    try {
      const created = await makeFolder(dirname(target))
      // A process that was killed may have left such a folder.
      await rm(path, { recursive: true, force: true })
      await mkdir(path)
      return new NewFolder(target, path, created)
    } catch (error) {
      throw await writeError(
        `write ${target}`,
        dirname(target),
        error,
        undefined,
        wording`Choose another ${option('out')}.`,
      )
    }
  }

  /** Writes files into the folder. @param signal Checked after every few megabytes. */
  async write(files: readonly OutputFile[], signal?: AbortSignal): Promise<void> {
    const needed = files.reduce((sum, { bytes }) => sum + bytes, 0)
    for (const file of files) await this.writeFile(file, needed, signal)
  }

  /**
   * Writes a file, whose name may contain folders. Returns its checksums.
   * @param needed Bytes of all files that are being written, for the message about a full disk.
   */
  async writeFile(file: OutputFile, needed: number, signal?: AbortSignal): Promise<Checked> {
    try {
      const path = join(this.path, file.name)
      await makeFolder(dirname(path))
      return await writeChecked(path, file, signal)
    } catch (error) {
      if (signal?.aborted || errorCode(error) === undefined) throw error
      throw await writeError(`write ${this.target}`, this.path, error, needed, 'Nothing was left behind.')
    }
  }

  /** Gives the folder its final name. */
  async finish(): Promise<void> {
    try {
      await syncFolder(this.path)
      // An empty folder of this name may exist; on some systems a rename does not replace it.
      await rmdir(this.target).catch((error: unknown) => {
        if (errorCode(error) !== 'ENOENT') throw error
      })
      await rename(this.path, this.target)
      await syncFolder(dirname(this.target))
    } catch (error) {
      throw await writeError(`write ${this.target}`, dirname(this.target), error, undefined, 'Nothing was left behind.')
    }
  }

  /** Removes everything that was written. */
  async discard(): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
    await removeEmptyFolders(this.created)
  }
}
