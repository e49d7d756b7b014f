/**
 * Files to documents. A document may be larger than memory, so it arrives as pieces: texts of at most
 * 64 Ki UTF-16 units, of which the last says so. Where the pieces are cut depends on the text alone.
 */
import { stat } from 'node:fs/promises'
import { UsageError } from '../../errors.ts'
import type { InputFile } from './input-file.ts'
import { parquetTexts } from './parquet.ts'
import { cutBefore, PIECE_LENGTH, textChunks } from './text.ts'

/** What is known of a document besides its text, e.g. year, president's name and party. */
export type Metadata = Readonly<Record<string, string | number | boolean>>

export interface Piece {
  readonly text: string
  /** The document ends with this piece. */
  readonly last: boolean
  /** File and, where it holds several documents, the place in it. */
  readonly name: string
  readonly metadata: Metadata | undefined
}

/** Longest line of JSONL and largest JSON file that are read, in bytes: they are parsed in one go. */
const MAX_RECORD_BYTES = 1 << 28

/**
 * The documents of files, in order. Records whose text is empty or null are passed over.
 * @throws UsageError for anything that is not text, not JSON, or lacks the field or column, and for a file that has
 * changed since it was hashed
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
      // Half of what somebody writes may be no text and no JSON.
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
  /** A text is one document. */
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
    // Never empty after a cut, so it ends the document.
    if (held) yield { text: held, last: true, name: file.name, metadata: undefined }
  },

  /** A line is a document: an object with the field, or a string. */
  async *jsonl(file, field) {
    let rest = ''
    let line = 0
    const record = function* (text: string): Generator<Piece> {
      line++
      if (text.trim() === '') return
      const where = `${file.name}:${line}`
      let value: unknown
      try {
        value = JSON.parse(text)
      } catch (error) {
        throw new UsageError(`data.source: ${where} is not JSON: ${(error as Error).message}`)
      }
      yield* piecesOf(value, field, where, file.metadata)
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

  /** A list is a document an item; anything else is one document. */
  async *json(file, field) {
    const size = await sizeOf(file)
    if (size > MAX_RECORD_BYTES)
      throw new UsageError(
        `data.source: ${file.name} has ${size} bytes; JSON is read whole, up to ${MAX_RECORD_BYTES}: write it as JSONL (a record a line)`,
      )
    let text = ''
    for await (const chunk of textChunks(file)) text += chunk
    if (text === '') return
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch (error) {
      throw new UsageError(`data.source: ${file.name} is not JSON: ${(error as Error).message}`)
    }
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
