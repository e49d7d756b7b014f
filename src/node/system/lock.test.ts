import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { RunError } from '../../core/errors.ts'
import { isHeldByLiveProcess, isLockedElsewhere, LOCK_FILE, lockRun, whereaboutsOf } from './lock.ts'
import { ownPlace } from './process-identity.ts'
import { inContainer } from './testing/container.ts'

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

test('exactly one of many concurrent attempts to lock succeeds, also if there is a stale lock', async () => {
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
  'the lock of a dead process is taken over even if a living process has the same id',
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

test('a new lock file without contents yet is respected; an old lock file without valid contents is taken over', async () => {
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

test('a holder is here if it runs in the same container since the last start; other places are distinguished', () => {
  const own = { host: 'a', boot: '1', namespace: 'x' }
  const at = (place: object) => whereaboutsOf({ ...own, ...place }, own)
  expect(at({})).toBe('here')
  expect(at({ namespace: 'y' })).toBe('container')
  // Containers of a machine may have names of their own.
  expect(at({ host: 'b' })).toBe('container')
  expect(at({ host: 'b', namespace: 'y' })).toBe('container')
  expect(at({ boot: '2' })).toBe('earlier')
  expect(at({ host: 'b', boot: '2' })).toBe('elsewhere')
  // Systems other than Linux, and locks of earlier versions, have no boot id and no namespace.
  const plain = { host: 'a', boot: null, namespace: null }
  expect(whereaboutsOf(plain, plain)).toBe('here')
  expect(whereaboutsOf({ host: 'b' }, plain)).toBe('elsewhere')
  expect(whereaboutsOf({ host: 'a' }, own)).toBe('here')
  expect(whereaboutsOf({ host: 'b' }, own)).toBe('elsewhere')
})

test('a process in another container that cannot be checked keeps its lock, whichever process has its id here', async () => {
  for (const pid of [process.pid, dead()]) {
    await leave({ pid, ...ownPlace(), namespace: 'pid:[1]' })
    expect(await isLockedElsewhere(directory)).toBe(true)
    const message = await refusal()
    expect(message).toContain(`in use by process ${pid} in another container (host ${hostname()})`)
    expect(message).toContain('cannot be checked from this one')
    expect(message).toContain(`delete ${path} and try again`)
    expect(await isHeldByLiveProcess(await readFile(path, 'utf8'))).toBe(false)
  }
})

/** A program that locks the directory, prints `locked`, and runs on; without `hold` it ends. */
const program = (hold: boolean) => `
import { lockRun } from ${JSON.stringify(new URL('../../../dist/node/system/lock.js', import.meta.url).href)}
try {
  await lockRun(${JSON.stringify(directory)})
  process.stdout.write('locked\\n')
  ${hold ? 'setInterval(() => {}, 60_000)' : ''}
} catch (error) {
  process.stdout.write(error.name + ': ' + error.message + '\\n')
}`

describe.skipIf(process.platform === 'win32')('a thread', () => {
  test('leaves a lock that its process can take over after the thread has ended, not before', async () => {
    const worker = new Worker(program(true), { eval: true, stdout: true })
    await new Promise((resolve) => worker.stdout.once('data', resolve))
    expect(await refusal()).toContain(`already in use by this process, ${process.pid}`)
    await worker.terminate()
    await (await lockRun(directory)).release()
    expect(await readdir(directory)).toEqual([])
  })
})

describe.skipIf(!inContainer)('a container', () => {
  /** A program in a process namespace of its own, where it is process 1. */
  const start = (hold: boolean) => {
    const [command = '', ...args] = inContainer as readonly string[]
    const words = [...args, process.execPath, '--input-type=module', '-e', program(hold)]
    child = spawn(command, words, { stdio: ['ignore', 'pipe', 'inherit'] })
    const running = child
    return {
      line: new Promise<string>((resolve) => running.stdout?.once('data', (data) => resolve(String(data)))),
      kill: async () => {
        running.kill('SIGKILL')
        await new Promise((resolve) => running.once('close', resolve))
      },
    }
  }

  test('keeps its lock from other containers of the same host name, and loses it when it is killed', async () => {
    const first = start(true)
    expect(await first.line).toBe('locked\n')
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ pid: 1, host: hostname() })
    const message = await refusal()
    expect(message).toContain(`in use by process 1 in another container (host ${hostname()})`)
    expect(message).toContain('Wait for it or stop it')
    expect(await isLockedElsewhere(directory)).toBe(true)
    // The second program is process 1 too, in another container.
    const second = start(false)
    expect(await second.line).toContain('in use by process 1 in another container')
    await first.kill()
    expect(await isLockedElsewhere(directory)).toBe(false)
    // The container is restarted.
    const third = start(false)
    expect(await third.line).toBe('locked\n')
    await third.kill()
  })

  test('finds the lock of a process outside', async () => {
    const lock = await lockRun(directory)
    expect(await start(false).line).toContain(`in use by process ${process.pid} in another container`)
    await lock.release()
    expect(await start(false).line).toBe('locked\n')
  })
})

test('isHeldByLiveProcess is true only for a living process of this machine', async () => {
  const lock = await lockRun(directory)
  const contents = await readFile(path, 'utf8')
  expect(await isHeldByLiveProcess(contents)).toBe(true)
  const changed = (fields: object) =>
    isHeldByLiveProcess(JSON.stringify({ ...(JSON.parse(contents) as object), ...fields }))
  expect(await changed({ host: 'elsewhere' })).toBe(false)
  expect(await changed({ pid: dead() })).toBe(false)
  // The process with this id has another start time than the holder.
  if (process.platform === 'linux') expect(await changed({ start: 'another boot 1' })).toBe(false)
  for (const damaged of ['', '{', 'null', '{"pid":"1"}']) expect(await isHeldByLiveProcess(damaged)).toBe(false)
  await lock.release()
})
