/** Reads documents from files. A document may be larger than memory, so it is read in pieces. */
import { stat } from 'node:fs/promises'
import { UsageError } from '../../../core/errors.ts'
import type { Piece } from '../../../train/data/sources/piece.ts'
import { piecesOf, recordReaders } from '../../../train/data/sources/records.ts'
import type { InputFile } from './input-file.ts'
import { parquetTexts } from './parquet/parquet.ts'
import { textChunks } from './text.ts'

/**
 * Yields the documents of files, in order. Records whose text is empty or null are skipped.
 * @throws UsageError for a file that is not valid text or JSON, lacks the field or column, or has changed since it was
 * hashed
 */
export async function* readDocuments(
  files: readonly InputFile[],
  field: string,
  signal?: AbortSignal,
): AsyncGenerator<Piece> {
  for (const file of files) {
    signal?.throwIfAborted()
    const bytes = await sizeOf(file)
    if (file.origin === 'named' && bytes === 0) throw new UsageError(`data.source: ${file.name} is empty`)
    try {
      for await (const piece of read(file, bytes, file.field ?? field, signal)) {
        signal?.throwIfAborted()
        yield piece
      }
    } catch (error) {
      signal?.throwIfAborted()
      // A file that is being written may be invalid: report that it changed instead.
      await file.content?.reading().end()
      throw error
    }
  }
}

async function sizeOf(file: InputFile): Promise<number> {
  try {
    return (await stat(file.path)).size
  } catch (error) {
    throw new UsageError(`data.source: cannot read ${file.name}: ${(error as Error).message}`)
  }
}

const read = (file: InputFile, bytes: number, field: string, signal?: AbortSignal): AsyncIterable<Piece> =>
  file.format === 'parquet'
    ? parquetDocuments(file, field, signal)
    : recordReaders[file.format](file, { bytes, chunks: textChunks(file) }, field)

async function* parquetDocuments(file: InputFile, field: string, signal?: AbortSignal): AsyncGenerator<Piece> {
  let row = 0
  for await (const text of parquetTexts(file, field, { signal })) {
    const where = `${file.name}:row ${row++}`
    if (text !== null) yield* piecesOf(text, where)
  }
}
