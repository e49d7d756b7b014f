/**
 * Hashes the contents of files and detects files that change later.
 *
 * The cache key of derived files is the hash of a first reading; the files themselves come from further readings.
 * A file may be changed in between, even with the same size and time. So every reading is hashed as well, and fails
 * if the bytes differ, so that nothing made from it is kept. The first reading also finds out how the file is read.
 */
import { createHash, type Hash } from 'node:crypto'
import { statSync } from 'node:fs'
import { UsageError } from '../../../core/errors.ts'
import { chooseFiles, type Examined, examine, isExamined, readThrough } from '../../../train/data/sources/examine.ts'
import { hashedHeader, type ReadingConfig } from '../../../train/data/sources/source-file.ts'
import { Unreadable } from '../../../train/data/sources/unreadable.ts'
import { filePieces } from '../../system/file-pieces.ts'
import type { Content, InputFile, Resolved } from './input-file.ts'
import { checkParquet } from './parquet/parquet.ts'
import { cannotRead, textChunks } from './text.ts'

export interface HashedFiles {
  /** Hash of the names and contents of the files and of how they are read. */
  readonly hash: string
  /** The files that are read; reading one to its end fails if it has changed since. */
  readonly files: readonly InputFile[]
  /** Notices about files that are not read, or that are read in another format than their endings say. */
  readonly notices: readonly string[]
}

/**
 * Hashes the files of a source and finds out how each is read.
 * @param onBytes Called with the number of bytes that were read since the last call.
 * @throws UsageError for a file that cannot be read or that changes while it is read, or if no file can be read
 */
export async function hashFiles(
  { files, skipped }: Resolved,
  config: ReadingConfig,
  signal?: AbortSignal,
  onBytes: (bytes: number) => void = () => {},
): Promise<HashedFiles> {
  let hash = createHash('sha256')
  const examined: Examined<InputFile>[] = []
  for (const file of files) {
    let read: Hashed | undefined
    const attempt = async (candidate: InputFile): Promise<void> => {
      read = await hashFile(candidate, hash, config, onBytes, signal)
    }
    const result = await examine(file, config, attempt)
    if (!result.file || !read) {
      examined.push(result)
      continue
    }
    const { before, after } = read
    hash = after
    examined.push({ ...result, file: { ...result.file, content: contentOf(file, before, after.copy().digest('hex')) } })
  }
  return { hash: hash.digest('hex'), ...chooseFiles(examined, skipped, config) }
}

interface Hashed {
  /** Hash before the bytes of the file. */
  readonly before: Hash
  readonly after: Hash
}

/** Hashes a file, and reads it as `file` says if its bytes are examined. @throws Unreadable if that is impossible */
async function hashFile(
  file: InputFile,
  hash: Hash,
  config: ReadingConfig,
  onBytes: (bytes: number) => void,
  signal?: AbortSignal,
): Promise<Hashed> {
  const field = file.field ?? config.field
  try {
    // The size is read at once, so that anything written to the file from here on is noticed.
    const { size } = statSync(file.path)
    const before = hash.copy().update(hashedHeader(file, field, size))
    const after = before.copy()
    let bytes = 0
    const add = (chunk: Uint8Array): void => {
      signal?.throwIfAborted()
      after.update(chunk)
      bytes += chunk.length
      onBytes(chunk.length)
    }
    const { format } = file
    if (isExamined(file, config)) {
      if (format === 'parquet') await checkParquet(file, field, signal)
      else {
        const chunks = textChunks({ ...file, content: { reading: () => ({ add, end: async () => {} }) } })
        await readThrough({ ...file, format }, { bytes: size, chunks }, field)
      }
    }
    for await (const chunk of filePieces(file.path, bytes, signal)) add(chunk)
    // Files of the kernel, such as /proc/mounts, have contents without a size.
    if (size === 0 && bytes > 0)
      throw new Unreadable(
        'special',
        'without a size',
        `data.source: ${file.name} has no size: it is not a file on a disk`,
      )
    if (bytes !== size) throw changed(file)
    return { before, after }
  } catch (error) {
    signal?.throwIfAborted()
    throw error instanceof UsageError ? error : cannotRead(file, error)
  }
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
        for await (const chunk of filePieces(file.path, bytes)) add(chunk)
        if (hash.digest('hex') !== sum) throw changed(file)
      },
    }
  },
})

const changed = ({ name }: InputFile): UsageError =>
  new UsageError(
    `data.source: ${name} changed while it was read, so nothing from it was kept; ` +
      'run again when no program writes to it, or use a copy',
  )
