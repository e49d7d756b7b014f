/**
 * The bytes that files have, as a hash, and the proof that a later reading saw the same.
 *
 * What is derived from a text is kept under the hash of a first reading, and made in further ones. Somebody may
 * write to the file in between, with its size and its time as they were. So every reading is hashed as it goes,
 * and one that saw other bytes is refused: nothing of it is kept.
 */
import { createHash, type Hash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { UsageError } from '../../errors.ts'
import type { Content, InputFile } from './input-file.ts'

export interface HashedFiles {
  /** Of what the files are called, what they hold and how they are read. */
  readonly hash: string
  /** The same files; reading them to the end fails when they have changed since. */
  readonly files: readonly InputFile[]
}

/** @throws UsageError for a file that cannot be read, or that changes meanwhile */
export async function hashFiles(
  files: readonly InputFile[],
  field: string,
  signal?: AbortSignal,
): Promise<HashedFiles> {
  const hash = createHash('sha256')
  const hashed: InputFile[] = []
  for (const file of files) {
    const { size } = statSync(file.path)
    hash.update(JSON.stringify([file.name, file.format, file.gzip, file.field ?? field, size]))
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

/** @param sum Of what `before` has hashed and the bytes of the file. */
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
        // Readers of Parquet add nothing, and gunzip may stop before the end of a file.
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
    `data.source: ${name} changed while it was read, and nothing of it was kept; ` +
      'run again when nothing writes to it any more, or give a copy',
  )
