/** Reads a text column of a Parquet file by row group: memory is bounded by the column of the largest group. */
import zlib from 'node:zlib'
import type { Compressors, parquetSchema } from 'hyparquet'
import { UsageError } from '../../errors.ts'
import type { InputFile } from './input-file.ts'
import { Unreadable } from './unreadable.ts'

/** Loaded at the first Parquet file. */
const library = () => import('hyparquet')

type SchemaTree = ReturnType<typeof parquetSchema>

/** Values of the column in row order; `a.b` is a field of a struct column. @throws UsageError */
export async function* parquetTexts(file: InputFile, column: string): AsyncGenerator<string | null> {
  try {
    const { asyncBufferFromFile, parquetMetadataAsync, parquetRead, parquetSchema } = await library()
    const reading = file.content?.reading()
    const buffer = await asyncBufferFromFile(file.path)
    const metadata = await parquetMetadataAsync(buffer)
    const path = columnPath(parquetSchema(metadata), column, file)
    let rowStart = 0
    for (const group of metadata.row_groups) {
      const rowEnd = rowStart + Number(group.num_rows)
      let rows: unknown[][] = []
      const columns = [path[0] as string]
      await parquetRead({
        file: buffer,
        metadata,
        columns,
        rowStart,
        rowEnd,
        compressors,
        onComplete: (all) => {
          rows = all
        },
      })
      for (const [i, row] of rows.entries()) {
        let value: unknown = row[0]
        for (const name of path.slice(1)) value = (value as Record<string, unknown> | null | undefined)?.[name]
        if (typeof value !== 'string' && value !== null && value !== undefined)
          throw new UsageError(
            `data.field: column "${column}" of ${file.name} is not text (row ${rowStart + i} is a ${typeof value})`,
          )
        yield value ?? null
      }
      rowStart = rowEnd
    }
    await reading?.end()
  } catch (error) {
    throw damaged(file, error)
  }
}

/** @throws Unreadable if it is not a Parquet file with the column */
export async function checkParquet(file: InputFile, column: string): Promise<void> {
  try {
    const { asyncBufferFromFile, parquetMetadataAsync, parquetSchema } = await library()
    columnPath(parquetSchema(await parquetMetadataAsync(await asyncBufferFromFile(file.path))), column, file)
  } catch (error) {
    throw damaged(file, error)
  }
}

function damaged({ name }: InputFile, error: unknown): UsageError {
  if (error instanceof UsageError) return error
  // The reader trusts the file, so damage is a mistake in its code: nothing that an engine says about that helps.
  const isOfEngine = error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError
  const message = isOfEngine ? 'its contents contradict each other; it is damaged' : (error as Error).message
  return new Unreadable('damaged', message, `data.source: ${name} cannot be read as Parquet: ${message}`)
}

/** Codecs of Node; the reader brings its own for snappy. */
const compressors: Compressors = {
  GZIP: (input, bytes) => zlib.gunzipSync(input, limitOf(bytes)),
  BROTLI: (input, bytes) => zlib.brotliDecompressSync(input, limitOf(bytes)),
  ZSTD: (input, bytes) => zstdDecompress(input, bytes),
}

/** Largest page that is read, decompressed. Writers make pages of a megabyte. */
const MAX_PAGE_BYTES = 2 ** 30

/** A page may not be larger than the file says, however much it decompresses to. */
function limitOf(bytes: number): { maxOutputLength: number } {
  if (!(bytes >= 0 && bytes <= MAX_PAGE_BYTES))
    throw new Error(`a page has ${bytes} bytes (expected at most ${MAX_PAGE_BYTES})`)
  return { maxOutputLength: Math.max(1, bytes) }
}

function zstdDecompress(input: Uint8Array, bytes: number): Uint8Array {
  // Available since Node 22.15.
  const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (input: Uint8Array, limit: object) => Buffer }
  if (!zstdDecompressSync) throw new Error('zstd needs Node 22.15 or later; or write the file with snappy or gzip')
  return zstdDecompressSync(input, limitOf(bytes))
}

function columnPath(root: SchemaTree, column: string, file: InputFile): string[] {
  for (const path of [[column], column.split('.')]) {
    let node: SchemaTree | undefined = root
    for (const name of path) node = node?.children.find((child) => child.element.name === name)
    if (node && node.children.length === 0) return path
  }
  const columns = `columns: ${leaves(root).join(', ')}`
  throw new Unreadable(
    'records',
    columns,
    `data.field: "${column}" is not a column of ${file.name} (${columns}); set data.field to the one that holds the text`,
  )
}

function leaves(node: SchemaTree, prefix = ''): string[] {
  return node.children.flatMap((child) => {
    const name = prefix + child.element.name
    return child.children.length > 0 ? leaves(child, `${name}.`) : [name]
  })
}
