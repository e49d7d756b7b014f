/**
 * Hashes the contents of files and detects files that change later.
 *
 * The cache key of derived files is the hash of a first reading; the files themselves come from further readings.
 * A file may be changed in between, even with the same size and time. So every reading is hashed as well, and fails
 * if the bytes differ, so that nothing made from it is kept.
 */
import { createHash, type Hash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { UsageError } from '../../errors.ts'
import type { Content, InputFile } from './input-file.ts'
import { hashedHeader } from './source-file.ts'

export interface HashedFiles {
  /** Hash of the names and contents of the files and of how they are read. */
  readonly hash: string
  /** The same files; reading one to its end fails if it has changed since. */
  readonly files: readonly InputFile[]
}

/** @throws UsageError for a file that cannot be read or that changes meanwhile */
export async function hashFiles(
  files: readonly InputFile[],
  field: string,
  signal?: AbortSignal,
): Promise<HashedFiles> {
  const hash = createHash('sha256')
  const hashed: InputFile[] = []
  for (const file of files) {
    const { size } = statSync(file.path)
    hash.update(hashedHeader(file, field, size))
    const before = hash.copy()
    let bytes = 0
    try {
      for await (const chunk of bytesFrom(file.path, 0, signal)) {
        hash.update(chunk)
        bytes += chunk.length
      }
    } catch (error) {
      signal?.throwIfAborted()
      throw new UsageError(`data.source: cannot read ${file.name}: ${(error as Error).message}`)
    }
    if (bytes !== size) throw changed(file)
    hashed.push({ ...file, content: contentOf(file, before, hash.copy().digest('hex')) })
  }
  return { hash: hash.digest('hex'), files: hashed }
}

/** @param sum Hash after `before` and all bytes of the file. */
const contentOf = (file: InputFile, before: Hash, sum: string): Content => ({
  reading() {
    const hash = before.copy()
    let bytes = 0
    const add = (chunk: Uint8Array): void => {
      hash.update(chunk)
      bytes += chunk.length
    }
    return {
      add,
      async end() {
        // The Parquet reader adds nothing, and gunzip may stop before the end of a file.
        for await (const chunk of bytesFrom(file.path, bytes)) add(chunk)
        if (hash.digest('hex') !== sum) throw changed(file)
      },
    }
  },
})

const bytesFrom = (path: string, start: number, signal?: AbortSignal): AsyncIterable<Buffer> =>
  createReadStream(path, { start, highWaterMark: 1 << 20, signal })

const changed = ({ name }: InputFile): UsageError =>
  new UsageError(
    `data.source: ${name} changed while it was read, so nothing from it was kept; ` +
      'run again when no program writes to it, or use a copy',
  )
