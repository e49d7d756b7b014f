/** Reads the text of a file on the disk. */
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { decodeText } from '../../../train/data/sources/decode.ts'
import { Unreadable } from '../../../train/data/sources/unreadable.ts'
import type { InputFile } from './input-file.ts'

/** The text of a file in non-empty chunks, without a byte order mark. @throws Unreadable if it is not text */
export const textChunks = (file: InputFile): AsyncGenerator<string> => decodeText(byteChunks(file), file)

/** The bytes of the text of a file, decompressed if the file is gzipped. */
export async function* byteChunks(file: InputFile): AsyncGenerator<Buffer> {
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
    if (file.gzip && code?.startsWith('Z_'))
      throw new Unreadable('damaged', 'gzip', `data.source: ${file.name} is not a valid gzip file: ${message}`)
    throw cannotRead(file, error)
  }
  await reading?.end()
}

/** Describes why a file cannot be read. @param error Error of the file system. */
export function cannotRead({ name }: InputFile, error: unknown): Unreadable {
  const { message, code = message } = error as NodeJS.ErrnoException
  return new Unreadable('access', code, `data.source: cannot read ${name}: ${message}`)
}
