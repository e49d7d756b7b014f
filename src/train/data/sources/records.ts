/**
 * Reads the documents of a file from its text. The cuts between pieces depend on the text alone. Records whose text is
 * empty or null are skipped.
 */
import { parseJson } from '../../../core/text/json.ts'
import { cutBefore, type Metadata, PIECE_LENGTH, type Piece } from './piece.ts'
import type { SourceFile } from './source-file.ts'
import { Unreadable } from './unreadable.ts'

/** Maximum size of a JSONL line and of a JSON file: each is parsed in one go. */
const MAX_RECORD_BYTES = 1 << 28

/** The text of a file in non-empty chunks, with its number of bytes. */
export interface FileText {
  readonly bytes: number
  readonly chunks: AsyncIterable<string>
}

type RecordReader = (file: SourceFile, text: FileText, field: string) => AsyncGenerator<Piece>

/**
 * @throws Unreadable for a file that is not JSON, lacks the field, or is too large for its format
 */
export const recordReaders: Readonly<Record<Exclude<SourceFile['format'], 'parquet'>, RecordReader>> = {
  /** The file is one document. */
  async *text({ name }, { chunks }) {
    let held = ''
    for await (const chunk of chunks) {
      held += chunk
      while (held.length > PIECE_LENGTH) {
        const cut = cutBefore(held, PIECE_LENGTH)
        yield { text: held.slice(0, cut), last: false, name, metadata: undefined }
        held = held.slice(cut)
      }
    }
    // The rest after a cut is never empty, so this piece ends the document.
    if (held) yield { text: held, last: true, name, metadata: undefined }
  },

  /** Each line is a document: an object with the field, or a string. */
  async *jsonl(file, { chunks }, field) {
    let rest = ''
    let line = 0
    const record = function* (text: string): Generator<Piece> {
      line++
      if (text.trim() === '') return
      const where = `${file.name}:${line}`
      yield* piecesOfRecord(parseRecord(text, where), field, where, file.metadata)
    }
    for await (const chunk of chunks) {
      let from = 0
      for (let end = chunk.indexOf('\n'); end >= 0; end = chunk.indexOf('\n', from)) {
        yield* record(rest + chunk.slice(from, end))
        rest = ''
        from = end + 1
      }
      rest += chunk.slice(from)
      if (rest.length > MAX_RECORD_BYTES)
        throw notRecords(
          'too long a line',
          `data.source: ${file.name}:${line + 1} is longer than ${MAX_RECORD_BYTES} characters; is it JSONL?`,
        )
    }
    yield* record(rest)
  },

  /** Each item of a list is a document; any other value is one document. */
  async *json(file, { bytes, chunks }, field) {
    if (bytes > MAX_RECORD_BYTES) throw tooLarge(file.name, `${bytes} bytes`)
    let text = ''
    for await (const chunk of chunks) {
      text += chunk
      // The text of a compressed file may be a thousand times as large as the file.
      if (text.length > MAX_RECORD_BYTES) throw tooLarge(file.name, `more than ${MAX_RECORD_BYTES} characters`)
    }
    if (text === '') return
    const value = parseRecord(text, file.name)
    if (!Array.isArray(value)) yield* piecesOfRecord(value, field, file.name, file.metadata)
    else
      for (const [i, item] of value.entries()) yield* piecesOfRecord(item, field, `${file.name}[${i}]`, file.metadata)
  },
}

const notRecords = (detail: string, message: string): Unreadable => new Unreadable('records', detail, message)

const tooLarge = (name: string, size: string): Unreadable =>
  notRecords(
    'too large',
    `data.source: ${name} has ${size}; a JSON file is parsed whole and may have at most ${MAX_RECORD_BYTES}: write it as JSONL (one record per line)`,
  )

function parseRecord(text: string, where: string): unknown {
  try {
    return parseJson(text)
  } catch (error) {
    throw notRecords('not JSON', `data.source: ${where} ${(error as Error).message.replace(/^it /, '')}`)
  }
}

function* piecesOfRecord(value: unknown, field: string, where: string, keepMetadata = false): Generator<Piece> {
  if (typeof value === 'string') return yield* piecesOf(value, where)
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw notRecords(
      describe(value),
      `data.source: ${where} is ${describe(value)}; expected an object with the field "${field}", or a string`,
    )
  const record = value as Record<string, unknown>
  const text = lookUp(record, field)
  if (text === undefined) {
    const fields = `fields: ${fieldNames(record).join(', ') || 'none'}`
    throw notRecords(
      fields,
      `data.field: "${field}" is not in ${where} (${fields}); set data.field to the one that holds the text`,
    )
  }
  if (text === null) return
  if (typeof text !== 'string')
    throw notRecords(
      `"${field}" is ${describe(text)}`,
      `data.field: "${field}" of ${where} is ${describe(text)}; expected a string`,
    )
  yield* piecesOf(text, where, keepMetadata ? scalars(record, field) : undefined)
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

/** The pieces of a document. */
export function* piecesOf(text: string, name: string, metadata?: Metadata): Generator<Piece> {
  let rest = text
  while (rest.length > PIECE_LENGTH) {
    const cut = cutBefore(rest, PIECE_LENGTH)
    yield { text: rest.slice(0, cut), last: false, name, metadata }
    rest = rest.slice(cut)
  }
  if (rest.length > 0) yield { text: rest, last: true, name, metadata }
}
