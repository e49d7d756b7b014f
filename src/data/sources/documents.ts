/**
 * Reads documents from files. A document may be larger than memory, so it is read as pieces of at most
 * 64 Ki UTF-16 units. The cuts between pieces depend on the text alone.
 */
import { stat } from 'node:fs/promises'
import { UsageError } from '../../errors.ts'
import type { InputFile } from './input-file.ts'
import { parquetTexts } from './parquet.ts'
import { cutBefore, PIECE_LENGTH, textChunks } from './text.ts'

/** Fields of a document besides its text, e.g. year, name of the president and party. */
export type Metadata = Readonly<Record<string, string | number | boolean>>

export interface Piece {
  readonly text: string
  /** Whether the document ends with this piece. */
  readonly last: boolean
  /** Name of the file and, if it holds several documents, the place in it. */
  readonly name: string
  readonly metadata: Metadata | undefined
}

/** Maximum size of a JSONL line and of a JSON file: each is parsed in one go. */
const MAX_RECORD_BYTES = 1 << 28

/**
 * The documents of files, in order. Records whose text is empty or null are skipped.
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
    if (file.named && (await sizeOf(file)) === 0) throw new UsageError(`data.source: ${file.name} is empty`)
    try {
      for await (const piece of readers[file.format](file, file.field ?? field)) {
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

type Reader = (file: InputFile, field: string) => AsyncIterable<Piece>

const readers: Readonly<Record<InputFile['format'], Reader>> = {
  /** The file is one document. */
  async *text(file) {
    let held = ''
    for await (const chunk of textChunks(file)) {
      held += chunk
      while (held.length > PIECE_LENGTH) {
        const cut = cutBefore(held, PIECE_LENGTH)
        yield { text: held.slice(0, cut), last: false, name: file.name, metadata: undefined }
        held = held.slice(cut)
      }
    }
    // Not empty after a cut, so this piece ends the document.
    if (held) yield { text: held, last: true, name: file.name, metadata: undefined }
  },

  /** Each line is a document: an object with the field, or a string. */
  async *jsonl(file, field) {
    let rest = ''
    let line = 0
    const record = function* (text: string): Generator<Piece> {
      line++
      if (text.trim() === '') return
      const where = `${file.name}:${line}`
      yield* piecesOf(parseJson(text, where), field, where, file.metadata)
    }
    for await (const chunk of textChunks(file)) {
      let from = 0
      for (let end = chunk.indexOf('\n'); end >= 0; end = chunk.indexOf('\n', from)) {
        yield* record(rest + chunk.slice(from, end))
        rest = ''
        from = end + 1
      }
      rest += chunk.slice(from)
      if (rest.length > MAX_RECORD_BYTES)
        throw new UsageError(
          `data.source: ${file.name}:${line + 1} is longer than ${MAX_RECORD_BYTES} characters; is it JSONL?`,
        )
    }
    yield* record(rest)
  },

  /** Each item of a list is a document; any other value is one document. */
  async *json(file, field) {
    const size = await sizeOf(file)
    if (size > MAX_RECORD_BYTES)
      throw new UsageError(
        `data.source: ${file.name} has ${size} bytes; a JSON file is parsed whole and may have at most ${MAX_RECORD_BYTES}: write it as JSONL (one record per line)`,
      )
    let text = ''
    for await (const chunk of textChunks(file)) text += chunk
    if (text === '') return
    const value = parseJson(text, file.name)
    if (!Array.isArray(value)) yield* piecesOf(value, field, file.name, file.metadata)
    else for (const [i, item] of value.entries()) yield* piecesOf(item, field, `${file.name}[${i}]`, file.metadata)
  },

  async *parquet(file, field) {
    let row = 0
    for await (const text of parquetTexts(file, field)) {
      const where = `${file.name}:row ${row++}`
      if (text !== null) yield* split(text, where, undefined)
    }
  },
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new UsageError(`data.source: ${where} is not JSON: ${(error as Error).message}`)
  }
}

function* piecesOf(value: unknown, field: string, where: string, keepMetadata = false): Generator<Piece> {
  if (typeof value === 'string') return yield* split(value, where, undefined)
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw new UsageError(
      `data.source: ${where} is ${describe(value)}; expected an object with the field "${field}", or a string`,
    )
  const record = value as Record<string, unknown>
  const text = lookUp(record, field)
  if (text === undefined)
    throw new UsageError(
      `data.field: "${field}" is not in ${where} (fields: ${fieldNames(record).join(', ') || 'none'}); set data.field to the one that holds the text`,
    )
  if (text === null) return
  if (typeof text !== 'string')
    throw new UsageError(`data.field: "${field}" of ${where} is ${describe(text)}; expected a string`)
  yield* split(text, where, keepMetadata ? scalars(record, field) : undefined)
}

/** A field by its name, or by a path `a.b` into nested objects. */
function lookUp(record: Record<string, unknown>, field: string): unknown {
  if (Object.hasOwn(record, field)) return record[field]
  const dot = field.indexOf('.')
  const inner = dot < 0 ? undefined : record[field.slice(0, dot)]
  if (inner === null || typeof inner !== 'object') return undefined
  return lookUp(inner as Record<string, unknown>, field.slice(dot + 1))
}

function fieldNames(record: Record<string, unknown>): string[] {
  return Object.entries(record).flatMap(([name, value]) =>
    value !== null && typeof value === 'object' && !Array.isArray(value)
      ? Object.keys(value).map((inner) => `${name}.${inner}`)
      : [name],
  )
}

function scalars(record: Record<string, unknown>, text: string): Metadata {
  const entries = Object.entries(record).filter(([name, value]) => name !== text && typeof value !== 'object')
  return Object.fromEntries(entries) as Metadata
}

const describe = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'a list' : `a ${typeof value}`

function* split(text: string, name: string, metadata: Metadata | undefined): Generator<Piece> {
  let rest = text
  while (rest.length > PIECE_LENGTH) {
    const cut = cutBefore(rest, PIECE_LENGTH)
    yield { text: rest.slice(0, cut), last: false, name, metadata }
    rest = rest.slice(cut)
  }
  if (rest.length > 0) yield { text: rest, last: true, name, metadata }
}
