import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { expect, test } from 'vitest'
import { sourceFile } from '../../../../train/data/sources/source-file.ts'
import { temporaryFolder } from '../../testing/temporary-folder.ts'
import { parquetTexts } from './parquet.ts'

const { make } = temporaryFolder()

const texts = Array.from({ length: 20 }, (_, i) => `text number ${i}`)

const write = (rowGroupSize: number): Buffer => {
  const column = { name: 'text', data: texts, type: 'STRING' } as const
  return Buffer.from(parquetWriteBuffer({ columnData: [column], codec: 'SNAPPY', rowGroupSize }))
}

async function read(bytes: Buffer, signal?: AbortSignal): Promise<(string | null)[]> {
  const path = join(make(), 'a.parquet')
  writeFileSync(path, bytes)
  const values: (string | null)[] = []
  const file = { path, ...sourceFile('a.parquet', 'named') }
  for await (const value of parquetTexts(file, 'text', { signal, patience: 1 })) values.push(value)
  return values
}

test('values of all row groups come in order', async () => {
  expect(await read(write(8))).toEqual(texts)
})

/** A file of which the decoder reads the same byte for ever. */
function endless(): Buffer {
  const bytes = write(20)
  // This byte is the length of the definition levels, in the header of the page.
  bytes[21] = 0
  return bytes
}

test('an interrupted reading ends at once', async () => {
  await expect(read(endless(), AbortSignal.timeout(300))).rejects.toMatchObject({ name: 'TimeoutError' })
})

test('a file that makes the decoder read the same byte for ever is refused', async () => {
  const error = await read(endless()).catch((error: Error) => error)
  expect(error).toMatchObject({
    reason: 'damaged',
    message: 'data.source: a.parquet cannot be read as Parquet: nothing could be read of it in 2 s',
  })
})
