import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../data/testing/temporary-folder.ts'
import { filePieces } from './file-pieces.ts'
import { readText } from './read-text.ts'

const temporary = temporaryFolder()
const isWindows = process.platform === 'win32'

function makePipe(): string {
  const pipe = join(temporary.make(), 'pipe')
  spawnSync('mkfifo', [pipe])
  return pipe
}

test('a file up to the limit is read, and a larger file is refused', async () => {
  const file = join(temporary.make(), 'file')
  writeFileSync(file, `é${'x'.repeat(98)}`)
  expect(await readText(file, 100)).toBe(`é${'x'.repeat(98)}`)
  await expect(readText(file, 99)).rejects.toThrow(/^it has more than 99 B /)
  writeFileSync(file, '')
  expect(await readText(file, 100)).toBe('')
})

test('a missing file is refused with the code of the system, and a folder with a message that it is one', async () => {
  const folder = temporary.make()
  await expect(readText(join(folder, 'none'), 100)).rejects.toMatchObject({ code: 'ENOENT' })
  await expect(readText(folder, 100)).rejects.toThrow('it is a folder (expected a file)')
})

test.skipIf(isWindows)('a pipe is read to its end while a program writes to it, however slowly', async () => {
  const pipe = makePipe()
  const writer = spawn('sh', ['-c', 'exec > "$1"; printf a; sleep 0.3; printf b', 'sh', pipe])
  // The writer's open waits for this reader, so it may not have begun.
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(await readText(pipe, 100)).toBe('ab')
  writer.kill()
})

test.skipIf(isWindows)('a pipe that no program writes to is refused at once', async () => {
  await expect(readText(makePipe(), 100)).rejects.toThrow('it is a pipe that no program writes to')
})

test.skipIf(isWindows)('a socket is refused', async () => {
  const path = join(temporary.make(), 'socket')
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(path, resolve))
  await expect(readText(path, 100)).rejects.toThrow('it is a socket (expected a file)')
  server.close()
  rmSync(path, { force: true })
})

test.runIf(process.platform === 'linux')(
  'a device and a file of the kernel without an end are refused at once',
  async () => {
    await expect(readText('/dev/zero', 100)).rejects.toThrow('it is a device (expected a file)')
    if (existsSync('/proc/kmsg')) await expect(readText('/proc/kmsg', 2 ** 30)).rejects.toThrow(/no end|EPERM|EACCES/)
  },
)

test.skipIf(isWindows)('reading the bytes of a pipe or a folder is refused without waiting', async () => {
  const read = async (path: string) => {
    for await (const _ of filePieces(path));
  }
  await expect(read(makePipe())).rejects.toThrow('it is a named pipe (expected a file)')
  const folder = temporary.make()
  mkdirSync(join(folder, 'sub'))
  await expect(read(folder)).rejects.toThrow('it is a folder (expected a file)')
})
