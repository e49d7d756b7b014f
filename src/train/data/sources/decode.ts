/**
 * Decodes bytes to text. Bytes that are not text are refused; if they are not UTF-8, with the offset of the first
 * invalid byte.
 */
import type { SourceFile } from './source-file.ts'
import { Unreadable } from './unreadable.ts'

type Bytes = AsyncIterable<Uint8Array> | Iterable<Uint8Array>

/**
 * The text in non-empty chunks, without a byte order mark.
 * @throws Unreadable for bytes that are not text in the encoding of the file, and for NUL characters
 */
export const decodeText = (
  chunks: Bytes,
  file: Pick<SourceFile, 'name' | 'gzip' | 'encoding'>,
): AsyncGenerator<string> =>
  file.encoding === undefined ? decodeUtf8(chunks, file) : decodeAs(file.encoding, chunks, file)

async function* decodeAs(encoding: string, chunks: Bytes, { name }: Pick<SourceFile, 'name'>): AsyncGenerator<string> {
  const decoder = new TextDecoder(encoding, { fatal: true })
  const decoded = (chunk?: Uint8Array): string => {
    try {
      // Every chunk is decoded as a stream: without `stream`, some versions of Node read windows-1252 as ISO-8859-1.
      return chunk ? decoder.decode(chunk, { stream: true }) : decoder.decode()
    } catch {
      const what = `neither UTF-8 nor ${encoding}`
      throw new Unreadable('encoding', what, `data.source: ${name} is not text: it is ${what}; set data.encoding`)
    }
  }
  const checked = function* (text: string): Generator<string> {
    if (text.includes('\0'))
      throw new Unreadable('binary', '', `data.source: ${name} is not text: it has NUL characters in ${encoding}`)
    if (text.length > 0) yield text
  }
  for await (const chunk of chunks) yield* checked(decoded(chunk))
  yield* checked(decoded())
}

async function* decodeUtf8(chunks: Bytes, file: Pick<SourceFile, 'name' | 'gzip'>): AsyncGenerator<string> {
  let rest = new Uint8Array()
  let offset = 0
  let first = true
  for await (const chunk of chunks) {
    const bytes = rest.length > 0 ? joined(rest, chunk) : chunk
    const complete = bytes.length - incompleteTail(bytes)
    let text = decode(bytes.subarray(0, complete), offset, file)
    if (first && text.length > 0) {
      first = false
      if (text.charCodeAt(0) === 0xfeff) text = text.slice(1)
    }
    if (text.length > 0) yield text
    // `slice` copies, because a stream may reuse the memory of a chunk.
    rest = bytes.slice(complete)
    offset += complete
  }
  if (rest.length > 0) decode(rest, offset, file)
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decode(bytes: Uint8Array, offset: number, file: Pick<SourceFile, 'name' | 'gzip'>): string {
  const nul = bytes.indexOf(0)
  if (nul < 0)
    try {
      return utf8.decode(bytes)
    } catch {
      // The first invalid byte is found below.
    }
  const bad = firstInvalid(bytes)
  const at = nul >= 0 && (bad < 0 || nul < bad) ? nul : bad
  const byte = `byte 0x${(bytes[at] ?? 0).toString(16).padStart(2, '0')}`
  const what = at === nul ? 'NUL byte' : `${byte} is not UTF-8`
  const utf16 = offset === 0 ? utf16Of(bytes) : undefined
  const isBinary = nul >= 0 && utf16 === undefined
  const advice = isBinary
    ? 'expected UTF-8 text, JSON, JSONL or Parquet (.parquet)'
    : `if it is text in another encoding, set data.encoding, such as ${utf16 ?? 'latin1'}`
  const inside = file.gzip ? ' of its decompressed content' : ''
  throw new Unreadable(
    isBinary ? 'binary' : 'encoding',
    isBinary ? '' : (utf16 ?? `${byte} at offset ${offset + at}`),
    `data.source: ${file.name} is not text: ${what} at offset ${offset + at}${inside}; ${advice}`,
  )
}

/** The UTF-16 encoding whose byte order mark comes first; undefined without such a mark. */
const utf16Of = ([first, second]: Uint8Array): string | undefined =>
  first === 0xff && second === 0xfe ? 'utf-16le' : first === 0xfe && second === 0xff ? 'utf-16be' : undefined

/** Offset of the first byte that is not UTF-8, or -1. It is where the decoded and re-encoded text first differs. */
function firstInvalid(bytes: Uint8Array): number {
  const again = new TextEncoder().encode(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes))
  let at = 0
  while (at < bytes.length && bytes[at] === again[at]) at++
  if (at === again.length) return -1
  // U+FFFD is EF BF BD and may begin with the same bytes as the input: step back to its start.
  while (at > 0 && ((again[at] ?? 0) & 0xc0) === 0x80) at--
  return at
}

/** Number of bytes at the end that belong to an incomplete character (0 to 3). */
function incompleteTail(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] as number
    if ((byte & 0xc0) === 0x80) continue
    const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return needed > back ? back : 0
  }
  return 0
}
