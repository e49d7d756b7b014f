import fs, {
  appendFile,
  type FileHandle,
  mkdir,
  mkdtemp,
  open,
  realpath,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { LineTail } from './tail.ts'

let folder: string
let path: string
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'choir-tail-')))
  path = join(folder, 'metrics.jsonl')
})
afterEach(() => rm(folder, { recursive: true }))

/** A tail that collects its lines as a reader would. */
function collecting(root = folder) {
  const lines: string[] = []
  const starts: number[] = []
  let replacements = 0
  const tail = new LineTail(root, path, {
    line: (bytes, start) => {
      lines.push(bytes.toString())
      starts.push(start)
    },
    replaced: () => {
      lines.length = starts.length = 0
      replacements++
    },
  })
  return { tail, lines, starts, replacements: () => replacements }
}

test('any split of a file into writes and polls gives the same lines at the same bytes', async () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'ü', '{', '"', '\n', '\n', '𝄞', '\r'), maxLength: 60 })
  await fc.assert(
    fc.asyncProperty(text, fc.array(fc.nat(80), { maxLength: 5 }), async (content, cuts) => {
      const bytes = Buffer.from(content)
      const expected = content.split('\n').slice(0, -1)
      const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length]
      await rm(path, { force: true })
      const { tail, lines, starts, replacements } = collecting()
      for (const [index, start] of places.slice(0, -1).entries()) {
        await appendFile(path, bytes.subarray(start, places[index + 1]))
        await tail.poll()
      }
      expect(lines).toEqual(expected)
      expect(
        starts.map((start, index) =>
          bytes
            .subarray(start)
            .toString()
            .startsWith(expected[index] ?? '?'),
        ),
      ).toEqual(expected.map(() => true))
      expect(replacements()).toBe(0)
    }),
  )
})

test('a line is read once it is complete', async () => {
  const { tail, lines } = collecting()
  expect(await tail.poll()).toBe('same')
  await writeFile(path, 'one\ntw')
  expect(await tail.poll()).toBe('read')
  expect(lines).toEqual(['one'])
  expect(await tail.poll()).toBe('same')
  await appendFile(path, 'o\n')
  await tail.poll()
  expect(lines).toEqual(['one', 'two'])
})

test('a file that shrank, was replaced, or was rewritten in place is read from its start', async () => {
  const { tail, lines, replacements } = collecting()
  await writeFile(path, 'one\ntwo\n')
  await tail.poll()
  await truncate(path, 4)
  expect(await tail.poll()).toBe('read')
  expect([lines, replacements()]).toEqual([['one'], 1])

  await writeFile(join(folder, 'next'), 'ONE\nTWO\n')
  await rename(join(folder, 'next'), path)
  await tail.poll()
  expect([lines, replacements()]).toEqual([['ONE', 'TWO'], 2])

  // A resumed run between two polls: it truncates the file and writes more lines than before.
  await truncate(path, 4)
  await appendFile(path, 'two again\nthree\n')
  await tail.poll()
  expect([lines, replacements()]).toEqual([['ONE', 'two again', 'three'], 3])

  await rm(path)
  await tail.poll()
  expect([lines, replacements(), tail.size]).toEqual([[], 4, 0])
  await writeFile(path, 'new\n')
  await tail.poll()
  expect(lines).toEqual(['new'])
})

test('a file rewritten with another beginning but the same last lines is read from its start', async () => {
  const { tail, lines, replacements } = collecting()
  const rest = 'the same\n'.repeat(100)
  await writeFile(path, `one\n${rest}`)
  await tail.poll()
  // The file is rewritten in place, as with `>` in a shell: it keeps its inode, but is longer.
  await writeFile(path, `two\n${rest}${rest}`)
  await tail.poll()
  expect(replacements()).toBe(1)
  expect(lines.slice(0, 2)).toEqual(['two', 'the same'])
  expect(lines).toHaveLength(201)
})

test('a line of 20 MB is skipped and counted, and its neighbours are read', async () => {
  await writeFile(path, `before\n${'x'.repeat(20 << 20)}\nafter\n`)
  const { tail, lines, starts } = collecting()
  await tail.poll()
  expect(lines).toEqual(['before', 'after'])
  expect(starts).toEqual([0, 7 + (20 << 20) + 1])
  expect(tail.skipped).toBe(1)
})

test('a line of a megabyte is read whole', async () => {
  const long = 'ü'.repeat(1 << 19)
  await writeFile(path, `${long}\nshort\n`)
  const { tail, lines } = collecting()
  await tail.poll()
  expect(lines.map(({ length }) => length)).toEqual([1 << 19, 5])
  expect(lines[0] === long).toBe(true)
})

test('a poll stops at its budget, reports that there is more, and yields to timers meanwhile', async () => {
  const count = 300_000
  await writeFile(path, 'ten bytes\n'.repeat(count))
  const { tail, lines } = collecting()
  expect(await tail.poll(1 << 20)).toBe('behind')
  expect(tail.position).toBeGreaterThanOrEqual(1 << 20)
  expect(tail.position).toBeLessThan(2 << 20)
  expect(tail.size).toBe(10 * count)
  let turns = 0
  const timer = setInterval(() => turns++, 0)
  await tail.poll()
  clearInterval(timer)
  expect(lines.length).toBe(count)
  expect(turns).toBeGreaterThan(0)
})

test('lines before a read error count, and the next poll continues there', async () => {
  const count = 30_000
  await writeFile(path, 'ten bytes\n'.repeat(count))
  const { tail, lines } = collecting()
  const handle = await open(path)
  const { read }: FileHandle = Object.getPrototypeOf(handle)
  await handle.close()
  const failing = vi.spyOn(Object.getPrototypeOf(handle) as FileHandle, 'read')
  try {
    failing.mockImplementationOnce(read).mockRejectedValueOnce(Object.assign(new Error('of the disk'), { code: 'EIO' }))
    expect(await tail.poll()).toBe('read')
    expect(lines.length).toBeGreaterThan(1000)
    expect(lines.length).toBeLessThan(count)
  } finally {
    failing.mockRestore()
  }
  expect(await tail.poll()).toBe('read')
  expect(lines.length).toBe(count)
})

test('a file system that fails to answer is retried, and nothing is dropped', async () => {
  await writeFile(path, 'one\n')
  const { tail, lines, replacements } = collecting()
  await tail.poll()
  const failing = vi.spyOn(fs, 'stat').mockRejectedValueOnce(Object.assign(new Error('stale'), { code: 'ESTALE' }))
  syncBuiltinESMExports()
  try {
    expect(await tail.poll()).toBe('same')
    expect(failing).toHaveBeenCalledOnce()
  } finally {
    failing.mockRestore()
    syncBuiltinESMExports()
  }
  await appendFile(path, 'two\n')
  expect(await tail.poll()).toBe('read')
  expect([lines, replacements()]).toEqual([['one', 'two'], 0])
})

test('a link that leads outside is not followed, and a folder in place of the file is ignored', async () => {
  const inside = join(folder, 'root')
  await mkdir(inside)
  await writeFile(path, 'secret\n')
  const outside = join(inside, 'metrics.jsonl')
  await symlink(path, outside)
  const linked = collecting(inside)
  const tail = new LineTail(inside, outside, {
    line: (bytes) => linked.lines.push(bytes.toString()),
    replaced: () => {},
  })
  await tail.poll()
  expect(linked.lines).toEqual([])

  await rm(path)
  await mkdir(path)
  const { tail: ofFolder, lines } = collecting()
  expect(await ofFolder.poll()).toBe('same')
  expect(lines).toEqual([])
})
