import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { RunError } from '../errors.ts'
import { isHeldByLiveProcess, LOCK_FILE, lockRun } from './lock.ts'

let directory: string
let path: string
let child: ChildProcess | undefined
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'choir-lock-'))
  path = join(directory, LOCK_FILE)
})
afterEach(async () => {
  child?.kill('SIGKILL')
  child = undefined
  await rm(directory, { recursive: true })
})

/** A process that runs until the test ends. */
function living(): number {
  child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  return child.pid as number
}

/** The id of a dead process. */
const dead = (): number => spawnSync(process.execPath, ['-e', '']).pid

const leave = (holder: object) =>
  writeFile(path, JSON.stringify({ host: hostname(), since: '2020-01-01T00:00:00Z', start: null, id: 'x', ...holder }))

const refusal = async (): Promise<string> => {
  const failure = await lockRun(directory).catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(RunError)
  return String(failure)
}

test('a lock excludes all others until it is released, and leaves no files', async () => {
  const lock = await lockRun(directory)
  expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ pid: process.pid, host: hostname() })
  expect(await refusal()).toContain(`already in use by this process, ${process.pid}`)
  await lock.release()
  await lock.release()
  expect(await readdir(directory)).toEqual([])
  await (await lockRun(directory)).release()
})

test('of many concurrent attempts to lock, exactly one succeeds, with a stale lock too', async () => {
  for (const stale of [false, true]) {
    if (stale) await leave({ pid: dead() })
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => lockRun(directory)))
    const won = results.filter((result) => result.status === 'fulfilled')
    expect(won).toHaveLength(1)
    await won[0]?.value.release()
    expect(await readdir(directory)).toEqual([])
  }
})

test('a living process keeps its lock, and the error names it', async () => {
  const pid = living()
  await leave({ pid })
  const message = await refusal()
  expect(message).toContain(`in use by process ${pid} since 2020-01-01T00:00:00Z`)
  expect(message).toContain(`delete ${path}`)
})

test('the lock of a dead process is taken over', async () => {
  await leave({ pid: dead() })
  const lock = await lockRun(directory)
  expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ pid: process.pid })
  await lock.release()
})

test.skipIf(process.platform === 'win32')(
  'a process that reuses the id of a dead one does not keep its lock',
  async () => {
    await leave({ pid: living(), start: 'another time' })
    await (await lockRun(directory)).release()
    await leave({ pid: process.pid, start: 'another time' })
    await (await lockRun(directory)).release()
  },
)

test('the lock of another host is kept, and the error says what to do', async () => {
  await leave({ pid: 1, host: 'elsewhere' })
  const message = await refusal()
  expect(message).toContain('process 1 on host elsewhere')
  expect(message).toContain(`delete ${path} and try again`)
  expect(await readdir(directory)).toEqual([LOCK_FILE])
})

test('a new lock file without contents yet is respected; an old one is taken over', async () => {
  await writeFile(path, '')
  const pid = living()
  const attempt = refusal()
  await leave({ pid })
  expect(await attempt).toContain(`in use by process ${pid}`)

  for (const contents of ['', 'null', '{"pid":12', '{}']) {
    await writeFile(path, contents)
    await utimes(path, 1e9, 1e9)
    await (await lockRun(directory)).release()
  }
})

test('a lock file that stays without contents is taken over by the first process that waits for it', async () => {
  await writeFile(path, '')
  await (await lockRun(directory)).release()
  expect(await readdir(directory)).toEqual([])
})

test('a folder in place of the lock is refused, and the error says what to do', async () => {
  await mkdir(path)
  expect(await refusal()).toContain(`cannot lock ${path}: it is a folder (remove it, and try again)`)
})

test('release does not remove the lock of a successor', async () => {
  const lock = await lockRun(directory)
  await leave({ pid: 1, host: 'elsewhere' })
  await lock.release()
  expect(await readdir(directory)).toEqual([LOCK_FILE])
})

test('isHeldHere is true only for a living process of this machine', async () => {
  const lock = await lockRun(directory)
  const contents = await readFile(path, 'utf8')
  expect(await isHeldByLiveProcess(contents)).toBe(true)
  const changed = (fields: object) =>
    isHeldByLiveProcess(JSON.stringify({ ...(JSON.parse(contents) as object), ...fields }))
  expect(await changed({ host: 'elsewhere' })).toBe(false)
  expect(await changed({ pid: dead() })).toBe(false)
  // A later process with the same id.
  if (process.platform === 'linux') expect(await changed({ start: 'another boot 1' })).toBe(false)
  for (const damaged of ['', '{', 'null', '{"pid":"1"}']) expect(await isHeldByLiveProcess(damaged)).toBe(false)
  await lock.release()
})
