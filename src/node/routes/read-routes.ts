/**
 * Reads a record of routes, and checks every row of it: a record may come from another program, or may have been changed.
 * Memory is bounded by a line or by a row group.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { asyncBufferFromFile, parquetMetadataAsync, parquetRead } from 'hyparquet'
import { formatValue } from '../../core/config/problems.ts'
import { RunError, UsageError } from '../../core/errors.ts'
import { readLines } from '../system/jsonl.ts'
import { JSON_BYTES, readText } from '../system/read-text.ts'
import { checkRow } from './check-row.ts'
import { HEADER_FILE, holdsRoutes } from './files.ts'
import { FORMAT, headerSchema, type RoutedToken, type RouteRow, type RoutesHeader } from './format.ts'
import { columnNames } from './parquet-schema.ts'

export interface RoutesRecord {
  readonly header: RoutesHeader
  /**
   * Reads the tokens in the order of the file. It may be called several times.
   * @throws RunError naming the row and what is wrong with it, or if the file has fewer or more rows than the header
   */
  tokens(): AsyncGenerator<RoutedToken, void>
}

/**
 * Opens a record.
 * @throws UsageError if the folder has none, or a record of a later version; RunError if its description is damaged
 */
export async function readRoutes(folder: string): Promise<RoutesRecord> {
  const path = join(folder, HEADER_FILE)
  if (!holdsRoutes(folder))
    throw new UsageError(
      `invalid record: ${formatValue(folder)} has no ${HEADER_FILE} (expected a folder that choir routing wrote)`,
    )
  const header = parseHeader(path, await readText(path, JSON_BYTES))
  const file = join(folder, header.file)
  if (!existsSync(file)) throw new RunError(`${path} describes ${header.file}, which is not there`)
  return { header, tokens: () => tokensOf(header, file) }
}

function parseHeader(path: string, text: string): RoutesHeader {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new RunError(`${path} is not JSON: ${(error as Error).message}`)
  }
  const { kind, format } = (value ?? {}) as { kind?: unknown; format?: unknown }
  if (kind === 'routes' && typeof format === 'number' && format > FORMAT)
    throw new UsageError(`${path} has format ${format}, and this version of Choir reads up to ${FORMAT} (update Choir)`)
  const parsed = headerSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new RunError(`${path}: invalid ${issue?.path.join('.') || 'contents'}: ${issue?.message}`)
}

/** Groups the rows of each token. */
async function* tokensOf(header: RoutesHeader, file: string): AsyncGenerator<RoutedToken, void> {
  const { routers, tokens } = header
  const expected = tokens * routers.length
  const known = new Set(header.documents.map(({ document }) => document))
  const rows = header.file === 'routes.jsonl' ? jsonRows(file) : parquetRows(file)
  let number = 0
  let group: RouteRow[] = []
  for await (const value of rows) {
    const row = checkRow(value, `${file}: row ${++number}`, { header, known, first: group[0], index: group.length })
    if (number > expected) break
    group.push(row)
    if (group.length < routers.length) continue
    const { document, position, token, text } = group[0] as RouteRow
    yield { document, position, token, text, routes: group }
    group = []
  }
  if (number !== expected) {
    const found = number > expected ? 'more' : `${number}`
    throw new RunError(
      `${file} has ${found} rows, but ${HEADER_FILE} describes ${expected}: ${tokens} tokens of ${routers.length} routers`,
    )
  }
}

async function* jsonRows(file: string): AsyncGenerator<unknown, void> {
  let number = 0
  for await (const { text } of readLines(file)) {
    number++
    try {
      yield JSON.parse(text ?? '')
    } catch {
      throw new RunError(`${file}: line ${number} is not JSON: ${(text ?? '').slice(0, 80)}`)
    }
  }
}

async function* parquetRows(file: string): AsyncGenerator<unknown, void> {
  const damaged = (error: unknown) =>
    new RunError(`${file} cannot be read as Parquet: ${error instanceof Error ? error.message : String(error)}`)
  const buffer = await asyncBufferFromFile(file)
  const metadata = await parquetMetadataAsync(buffer).catch((error: unknown) => {
    throw damaged(error)
  })
  let rowStart = 0
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows)
    let rows: Record<string, unknown>[] = []
    await parquetRead({
      file: buffer,
      metadata,
      columns: columnNames,
      rowFormat: 'object',
      rowStart,
      rowEnd,
      onComplete: (all) => {
        rows = all
      },
    }).catch((error: unknown) => {
      throw damaged(error)
    })
    yield* rows
    rowStart = rowEnd
  }
}
