/** The text of a file on the disk. */
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { UsageError } from '../../errors.ts'
import { decodeText } from './decode.ts'
import type { InputFile } from './input-file.ts'

/** The text of a file in non-empty chunks, without a byte order mark. @throws UsageError if it is not UTF-8 text */
export const textChunks = (file: InputFile): AsyncGenerator<string> => decodeText(byteChunks(file), file)

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
