/**
 * Writes a folder so that it appears whole or not at all: under a hidden name beside it, renamed when everything is
 * written and was read back.
 */
import { mkdir, readdir, rename, rm, rmdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { option, RunError, UsageError, wording } from '../../../core/errors.ts'
import { writeChecked } from '../../../node/run/checkpoint/checked-file.ts'
import { errorCode, makeFolder, removeEmptyFolders, syncFolder, writeError } from '../../../node/system/disk.ts'
import type { OutputFile } from '../../../train/run/checkpoint/safetensors.ts'

/** @throws UsageError if the folder has files, or is a file */
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
  /** The final name. */
  private readonly target: string
  /** Folders around it that did not exist. */
  private readonly created: readonly string[]

  private constructor(target: string, path: string, created: readonly string[]) {
    this.target = target
    this.path = path
    this.created = created
  }

  /** @throws UsageError as {@link checkIsFree}; RunError if nothing can be written there */
  static async begin(target: string): Promise<NewFolder> {
    await checkIsFree(target)
    const path = join(dirname(target), `.${basename(target)}.writing`)
    try {
      const created = await makeFolder(dirname(target))
      // Left by a process that was killed.
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

  /** @param signal Checked before every file and every tensor. */
  async write(files: readonly OutputFile[], signal?: AbortSignal): Promise<void> {
    const needed = files.reduce((sum, { bytes }) => sum + bytes, 0)
    try {
      for (const { name, bytes, pieces } of files) {
        const path = join(this.path, name)
        await makeFolder(dirname(path))
        await writeChecked(path, { name, bytes, pieces: pieces.map((piece) => interruptible(piece, signal)) })
      }
    } catch (error) {
      if (signal?.aborted || error instanceof UsageError || error instanceof RunError) throw error
      throw await writeError(`write ${this.target}`, this.path, error, needed, 'Nothing was left behind.')
    }
  }

  /** Gives the folder its name. */
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

  /** Removes what was written. */
  async discard(): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
    await removeEmptyFolders(this.created)
  }
}

const interruptible = (piece: OutputFile['pieces'][number], signal: AbortSignal | undefined) => ({
  ...piece,
  read() {
    signal?.throwIfAborted()
    return piece.read()
  },
})
