import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { filePieces } from './file-pieces.ts'

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'choir-pieces-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

async function read(path: string, start?: number): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of filePieces(path, start)) pieces.push(piece)
  return Buffer.concat(pieces)
}

test('every byte from the start on is read, for sizes around the size of a piece', async () => {
  const path = join(temporaryFolder(), 'file')
  const mebibyte = 2 ** 20
  for (const size of [0, 1, mebibyte - 1, mebibyte, mebibyte + 1, 3 * mebibyte]) {
    const bytes = Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 31 + (i >> 8)) & 255))
    writeFileSync(path, bytes)
    for (const start of [0, 1, mebibyte, size, size + 1])
      expect((await read(path, start)).equals(bytes.subarray(start)), `${size} from ${start}`).toBe(true)
  }
})

test('the event loop turns between the pieces, so an abort ends a long reading', async () => {
  const path = join(temporaryFolder(), 'file')
  writeFileSync(path, Buffer.alloc(8 * 2 ** 20))
  const controller = new AbortController()
  let pieces = 0
  setImmediate(() => controller.abort())
  const reading = async () => {
    for await (const _ of filePieces(path, 0, controller.signal)) pieces++
  }
  await expect(reading()).rejects.toThrow(/abort/)
  expect(pieces).toBeLessThan(4)
})

test('a file of the kernel that waits for events is refused', async () => {
  if (existsSync('/proc/kmsg')) await expect(read('/proc/kmsg')).rejects.toThrow(/no end|EPERM|EACCES/)
})
