/** Reads a text column of a Parquet file by row group, so memory is bounded by the column of the largest group. */
import { parentPort, workerData } from 'node:worker_threads'
import zlib from 'node:zlib'
import { asyncBufferFromFile, type Compressors, parquetMetadataAsync, parquetRead, parquetSchema } from 'hyparquet'
import type { Answer, Column } from './contract.ts'

type SchemaTree = ReturnType<typeof parquetSchema>

/** Error for a column that does not exist or is not text. */
class WrongColumn extends Error {
  readonly columns: string | null

  /** @param columns Columns of the file, if the requested column is not one of them. */
  constructor(message: string, columns: string | null = null) {
    super(message)
    this.columns = columns
  }
}

/** Yields an empty list once the column is found in the file, then its values, group by group. */
async function* read({ path, name, column }: Column): AsyncGenerator<(string | null)[]> {
  const file = await asyncBufferFromFile(path)
  const metadata = await parquetMetadataAsync(file)
  const names = columnPath(parquetSchema(metadata), column, name)
  yield []
  let rowStart = 0
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows)
    let rows: unknown[][] = []
    await parquetRead({
      file,
      metadata,
      columns: [names[0] as string],
      rowStart,
      rowEnd,
      compressors,
      onComplete: (all) => {
        rows = all
      },
    })
    yield rows.map(([row], i) => {
      let value: unknown = row
      for (const field of names.slice(1)) value = (value as Record<string, unknown> | null | undefined)?.[field]
      if (typeof value !== 'string' && value !== null && value !== undefined)
        throw new WrongColumn(
          `data.field: column "${column}" of ${name} is not text (row ${rowStart + i} is a ${typeof value})`,
        )
      return value ?? null
    })
    rowStart = rowEnd
  }
}

/** Codecs of Node. The reader brings its own codec for snappy. */
const compressors: Compressors = {
  GZIP: (input, bytes) => zlib.gunzipSync(input, limitOf(bytes)),
  BROTLI: (input, bytes) => zlib.brotliDecompressSync(input, limitOf(bytes)),
  ZSTD: (input, bytes) => zstdDecompress(input, bytes),
}

/** Size of the largest decompressed page that is read. Writers make pages of a megabyte. */
const MAX_PAGE_BYTES = 2 ** 30

/** Limits a decompressed page to the `bytes` that the file states. @throws Error if the file states too many */
function limitOf(bytes: number): { maxOutputLength: number } {
  if (!(bytes >= 0 && bytes <= MAX_PAGE_BYTES))
    throw new Error(`a page has ${bytes} bytes (expected at most ${MAX_PAGE_BYTES})`)
  return { maxOutputLength: Math.max(1, bytes) }
}

function zstdDecompress(input: Uint8Array, bytes: number): Uint8Array {
  // The function exists since Node 22.15.
  const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (input: Uint8Array, limit: object) => Buffer }
  if (!zstdDecompressSync) throw new Error('zstd needs Node 22.15 or later; or write the file with snappy or gzip')
  return zstdDecompressSync(input, limitOf(bytes))
}

function columnPath(root: SchemaTree, column: string, file: string): string[] {
  for (const path of [[column], column.split('.')]) {
    let node: SchemaTree | undefined = root
    for (const name of path) node = node?.children.find((child) => child.element.name === name)
    if (node && node.children.length === 0) return path
  }
  const columns = `columns: ${leaves(root).join(', ')}`
  throw new WrongColumn(
    `data.field: "${column}" is not a column of ${file} (${columns}); set data.field to the one that holds the text`,
    columns,
  )
}

function leaves(node: SchemaTree, prefix = ''): string[] {
  return node.children.flatMap((child) => {
    const name = prefix + child.element.name
    return child.children.length > 0 ? leaves(child, `${name}.`) : [name]
  })
}

function failureOf(error: unknown): Answer {
  if (error instanceof WrongColumn) return { kind: 'column', message: error.message, columns: error.columns }
  // The reader trusts the file, so damage can show as a bug in the reader. JavaScript's message about that is no help.
  const isOfEngine = error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError
  return { kind: 'damaged', message: isOfEngine ? null : (error as Error).message }
}

const values = read(workerData as Column)
parentPort?.on('message', async () => {
  const answer = await values
    .next()
    .then<Answer, Answer>(({ value, done }) => ({ kind: 'values', values: done ? null : value }), failureOf)
  parentPort?.postMessage(answer)
})
