/**
 * Decodes a file to text in chunks, and cuts text into pieces of bounded size. Input that is not UTF-8
 * text is refused with the offset of the first invalid byte.
 */
import { isUtf8 } from 'node:buffer'
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { UsageError } from '../../errors.ts'
import type { InputFile } from './input-file.ts'

/** The text of a file in non-empty chunks, without a byte order mark. */
export async function* textChunks(file: InputFile): AsyncGenerator<string> {
  let rest: Buffer = Buffer.alloc(0)
  let offset = 0
  let first = true
  for await (const chunk of byteChunks(file)) {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk
    const complete = bytes.length - incompleteTail(bytes)
    let text = decode(bytes.subarray(0, complete), offset, file)
    if (first && text.length > 0) {
      first = false
      if (text.charCodeAt(0) === 0xfeff) text = text.slice(1)
    }
    if (text.length > 0) yield text
    // A copy: the stream may reuse the memory of a chunk.
    rest = Buffer.from(bytes.subarray(complete))
    offset += complete
  }
  if (rest.length > 0) decode(rest, offset, file)
}

async function* byteChunks(file: InputFile): AsyncGenerator<Buffer> {
  const reading = file.content?.reading()
  const hashed = async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      reading?.add(chunk)
      yield chunk
    }
  }
  const source = createReadStream(file.path, { highWaterMark: 1 << 18 })
  // The callback is required but has nothing to do: an error destroys the last stream, and the loop throws it.
  const stream = file.gzip ? pipeline(source, hashed, createGunzip({ chunkSize: 1 << 18 }), () => {}) : hashed(source)
  try {
    for await (const chunk of stream) yield chunk as Buffer
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException
    const kind = file.gzip && code?.startsWith('Z_') ? 'is not a valid gzip file' : 'cannot be read'
    throw new UsageError(`data.source: ${file.name} ${kind}: ${message}`)
  }
  await reading?.end()
}

function decode(bytes: Buffer, offset: number, file: InputFile): string {
  const nul = bytes.indexOf(0)
  if (nul < 0 && isUtf8(bytes)) return bytes.toString('utf8')
  const bad = firstInvalid(bytes)
  const at = nul >= 0 && (bad < 0 || nul < bad) ? nul : bad
  const what = at === nul ? 'NUL byte' : `byte 0x${(bytes[at] ?? 0).toString(16).padStart(2, '0')} is not UTF-8`
  const inside = file.gzip ? ' of its decompressed content' : ''
  throw new UsageError(
    `data.source: ${file.name} is not text: ${what} at offset ${offset + at}${inside}; ` +
      'expected UTF-8 text, Markdown, JSON, JSONL or Parquet (.parquet)',
  )
}

/** Offset of the first byte that is not UTF-8, or -1. It is where the decoded and re-encoded text first differs. */
function firstInvalid(bytes: Buffer): number {
  const again = Buffer.from(bytes.toString('utf8'), 'utf8')
  let at = 0
  while (at < bytes.length && bytes[at] === again[at]) at++
  if (at === again.length) return -1
  // U+FFFD is EF BF BD and may begin with the same bytes as the input: step back to its start.
  while (at > 0 && ((again[at] ?? 0) & 0xc0) === 0x80) at--
  return at
}

/** Number of bytes at the end that belong to an incomplete character (0 to 3). */
function incompleteTail(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] as number
    if ((byte & 0xc0) === 0x80) continue
    const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return needed > back ? back : 0
  }
  return 0
}

/** Maximum length of a piece of a document, in UTF-16 units. */
export const PIECE_LENGTH = 1 << 16

/**
 * Position at which to cut a text longer than `limit`: before the last white space that is followed by a
 * non-space, so that byte-level tokenizers find the same words as in the whole text; else at the limit.
 */
export function cutBefore(text: string, limit: number): number {
  for (let i = limit - 1; i > limit / 2; i--) if (isSpace(text, i) && !isSpace(text, i + 1)) return i
  const code = text.charCodeAt(limit)
  return code >= 0xdc00 && code <= 0xdfff ? limit - 1 : limit
}

function isSpace(text: string, i: number): boolean {
  const code = text.charCodeAt(i)
  return code === 0x20 || (code >= 9 && code <= 13) || (code >= 0x85 && /\p{White_Space}/u.test(text[i] as string))
}
