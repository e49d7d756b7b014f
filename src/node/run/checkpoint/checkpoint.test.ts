import { execFileSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { RunError } from '../../../core/errors.ts'
import { floatsOf } from '../../../engine/contract/arena.ts'
import { arenaOf } from '../../../engine/native/cpu-arena.ts'
import type { CheckpointTensors } from '../../../train/run/checkpoint/description.ts'
import { ForbiddenFile, verify } from '../../../train/run/checkpoint/verify.ts'
import type { NamedTensor } from '../../../train/step/store/named-tensors.ts'
import { checkpointOf, newestCheckpoint, readCheckpoint, readNewestCheckpoint, writeCheckpoint } from './checkpoint.ts'

/**
 * A file system that can stop: after `left` modifying operations every further one fails, as if the
 * process had been killed. An interrupted write or removal is half done.
 */
const disk = vi.hoisted(() => ({
  left: Number.POSITIVE_INFINITY,
  error: (): Error => new Error('killed'),
  /** The end of a path that may not be deleted. */
  locked: undefined as string | undefined,
}))

vi.mock('node:fs/promises', async (original) => {
  const actual = await original<typeof import('node:fs/promises')>()
  const spent = () => disk.left-- <= 0
  const limited =
    <A extends unknown[], R>(action: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (spent()) throw disk.error()
      return action(...args)
    }
  return {
    ...actual,
    mkdir: limited(actual.mkdir),
    rename: limited(actual.rename),
    rm: async (path: string, options: { recursive?: boolean; force?: boolean }) => {
      if (disk.locked !== undefined && path.endsWith(disk.locked)) throw new Error('EACCES: permission denied')
      if (!spent()) return actual.rm(path, options)
      if (disk.left === -1) {
        const [first] = await actual.readdir(path).catch(() => [])
        if (first !== undefined) await actual.rm(join(path, first))
      }
      throw disk.error()
    },
    open: async (path: string, flags: string) => {
      const isWrite = flags !== 'r'
      if (isWrite && spent()) throw disk.error()
      const handle = await actual.open(path, flags)
      const write = handle.write.bind(handle) as (bytes: Uint8Array, from: number) => Promise<unknown>
      const sync = handle.sync.bind(handle)
      const limitedWrite = async (bytes: Uint8Array, from: number) => {
        if (!spent()) return write(bytes, from)
        if (disk.left === -1) await write(bytes.subarray(0, bytes.length >> 1), from)
        throw disk.error()
      }
      return Object.assign(handle, { write: limitedWrite, sync: limited(sync) })
    },
  }
})

let root: string
let directory: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'choir-checkpoint-'))
  directory = join(root, 'checkpoints')
})
afterEach(async () => {
  disk.left = Number.POSITIVE_INFINITY
  disk.error = () => new Error('killed')
  disk.locked = undefined
  await rm(root, { recursive: true })
})

/** The tensors of a step: every value encodes the step. */
function tensorsOf(step: number): CheckpointTensors {
  const part = (prefix: string, scale: number) =>
    [0, 1, 2].map((i) => {
      const range = { arena: arenaOf({ buffer: new SharedArrayBuffer(4 * 6) }), start: 0, count: 6 }
      floatsOf(range).fill(step * scale + i / 4)
      return { name: `${prefix}.${i}`, shape: [2, 3], range }
    })
  return { model: part('model', 1), optimizer: part('optimizer', -1) }
}

const numbersOf = (tensors: readonly NamedTensor[]) => tensors.map(({ name, range }) => [name, ...floatsOf(range)])

const save = (step: number, keep = 2) =>
  writeCheckpoint(directory, step, tensorsOf(step), { step, order: [3, 1] }, { keep })

async function newest() {
  const skipped: string[] = []
  const checkpoint = await newestCheckpoint(directory, (path, reason) =>
    skipped.push(`${path.slice(directory.length + 1)}: ${reason}`),
  )
  return { checkpoint, skipped }
}

/** Asserts that a checkpoint has the tensors of its step, bit for bit. */
async function expectIntact(step: number): Promise<void> {
  const { checkpoint } = await newest()
  expect(checkpoint?.step).toBe(step)
  const views = tensorsOf(0)
  await readCheckpoint(checkpoint?.path as string, views)
  for (const kind of ['model', 'optimizer'] as const)
    expect(numbersOf(views[kind])).toEqual(numbersOf(tensorsOf(step)[kind]))
}

test('an empty folder has no newest checkpoint', async () => {
  expect((await newest()).checkpoint).toBeNull()
  await mkdir(directory)
  expect((await newest()).checkpoint).toBeNull()
})

test('the newest checkpoint restores tensors and state', async () => {
  await save(9)
  const path = await save(10)
  expect(await newest()).toEqual({ checkpoint: { step: 10, path, state: { step: 10, order: [3, 1] } }, skipped: [] })
  await expectIntact(10)
  expect((await readdir(path)).sort()).toEqual([
    'SHA256SUMS',
    'model.safetensors',
    'optimizer.safetensors',
    'state.json',
  ])
  const model = tensorsOf(0).model
  await readCheckpoint(path, { model })
  expect(numbersOf(model)).toEqual(numbersOf(tensorsOf(10).model))
})

test('the checkpoint of one step is kept besides the newest ones, until another step is spared', async () => {
  const saveSparing = (step: number, spared: number) =>
    writeCheckpoint(directory, step, tensorsOf(step), {}, { keep: 1, spared })
  for (const step of [1, 2, 3, 4]) await saveSparing(step, 2)
  expect((await readdir(directory)).sort()).toEqual(['step-00000002', 'step-00000004'])
  await saveSparing(5, 5)
  expect(await readdir(directory)).toEqual(['step-00000005'])
})

test('the newest checkpoint is the one of the largest step, also beyond eight digits', async () => {
  for (const step of [99_999_998, 99_999_999, 100_000_000]) await save(step)
  await expectIntact(100_000_000)
})

test.skipIf(process.platform !== 'linux')('sha256sum -c accepts a checkpoint and covers every other file', async () => {
  const path = await writeCheckpoint(directory, 5, tensorsOf(5), {}, { keep: 1, shardBytes: 30 })
  const output = execFileSync('/usr/bin/env', ['sha256sum', '-c', 'SHA256SUMS'], { cwd: path, encoding: 'utf8' })
  const names = (await readdir(path)).filter((name) => name !== 'SHA256SUMS').sort()
  expect(names).toContain('model-00003-of-00003.safetensors')
  expect(output.trim().split('\n').sort()).toEqual(names.map((name) => `${name}: OK`))
  await expectIntact(5)
})

test('only the newest checkpoints are kept, and a damaged checkpoint is not counted', async () => {
  for (const step of [1, 2, 3]) await save(step)
  expect((await readdir(directory)).sort()).toEqual(['step-00000002', 'step-00000003'])
  await truncate(join(directory, 'step-00000003', 'model.safetensors'), 10)
  await save(4)
  expect((await readdir(directory)).sort()).toEqual(['step-00000002', 'step-00000003', 'step-00000004'])
  await save(5)
  expect((await readdir(directory)).sort()).toEqual(['step-00000004', 'step-00000005'])
})

test('any flipped bit is found and reported, and the earlier checkpoint is used', async () => {
  await save(1)
  const path = await save(2)
  const names = await readdir(path)
  const part = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...names), part, fc.integer({ min: 0, max: 7 }), async (name, where, bit) => {
      const good = await readFile(join(path, name))
      const bytes = Buffer.from(good)
      const at = Math.floor(where * bytes.length)
      bytes[at] = (bytes[at] as number) ^ (1 << bit)
      await writeFile(join(path, name), bytes)
      const { checkpoint, skipped } = await newest()
      await writeFile(join(path, name), good)
      expect(checkpoint?.step).toBe(1)
      expect(skipped).toHaveLength(1)
      expect(skipped[0]).toMatch(/^step-00000002: .*(checksum|damaged|missing|cover)/)
    }),
    { numRuns: 60 },
  )
  await expectIntact(2)
})

test('a signal ends reading a checkpoint with its reason, and a file that was not read is not damaged', async () => {
  const range = { arena: arenaOf({ buffer: new SharedArrayBuffer(2 ** 26) }), start: 0, count: 2 ** 24 }
  const tensors = { model: [{ name: 'large', shape: [2 ** 24], range }], optimizer: [] }
  const path = await writeCheckpoint(directory, 1, tensors, {}, { keep: 1 })
  const reason = new Error('stopped')
  // The signal comes in a later turn of the event loop, when the first pieces have been read.
  const soon = () => {
    const stop = new AbortController()
    setImmediate(() => setImmediate(() => stop.abort(reason)))
    return { signal: stop.signal }
  }
  const skipped = vi.fn()
  await expect(newestCheckpoint(directory, skipped, soon())).rejects.toBe(reason)
  await expect(checkpointOf(directory, 1, soon())).rejects.toBe(reason)
  await expect(readCheckpoint(path, tensors, soon())).rejects.toBe(reason)
  expect(skipped).not.toHaveBeenCalled()
  expect((await newestCheckpoint(directory, skipped))?.step).toBe(1)
})

test('a truncated or missing file is found and reported, and the earlier checkpoint is used', async () => {
  await save(1)
  const path = await save(2)
  for (const name of await readdir(path)) {
    const good = await readFile(join(path, name))
    for (const bytes of [good.length - 1, good.length >> 1, 0]) {
      await truncate(join(path, name), bytes)
      const { checkpoint, skipped } = await newest()
      expect(checkpoint?.step).toBe(1)
      expect(skipped).toHaveLength(1)
      if (name.endsWith('.safetensors'))
        expect(skipped[0]).toBe(
          `step-00000002: ${name} has ${bytes} bytes instead of ${good.length}: it was truncated or changed`,
        )
    }
    await rm(join(path, name))
    expect((await newest()).skipped).toEqual([
      `step-00000002: ${name} is missing: it was not completely written or copied`,
    ])
    await writeFile(join(path, name), good)
  }
  await expectIntact(2)
})

test('a process killed before any of its operations leaves an intact checkpoint at least as new as before', async () => {
  for (let operations = 0; ; operations++) {
    await rm(directory, { recursive: true, force: true })
    await save(1, 1)
    await save(2, 1)
    disk.left = operations
    const finished = await save(3, 1).then(
      () => disk.left >= 0,
      () => false,
    )
    disk.left = Number.POSITIVE_INFINITY
    const step = (await newest()).checkpoint?.step
    expect(step, `killed after ${operations} operations`).toBeGreaterThanOrEqual(2)
    await expectIntact(step as number)
    await save(4, 1)
    await expectIntact(4)
    expect(await readdir(directory)).toEqual(['step-00000004'])
    if (!finished) continue
    expect(operations).toBeGreaterThan(20)
    return
  }
})

test('if the process is killed while replacing a checkpoint of the same step, one of the two is intact', async () => {
  for (let operations = 0; ; operations++) {
    await rm(directory, { recursive: true, force: true })
    await save(2)
    disk.left = operations
    const finished = await save(2).then(
      () => disk.left >= 0,
      () => false,
    )
    disk.left = Number.POSITIVE_INFINITY
    await expectIntact(2)
    await save(2)
    expect(await readdir(directory)).toEqual(['step-00000002'])
    if (finished) return
  }
})

test('a replaced checkpoint is restored if its replacement is damaged, and removed if the replacement is intact', async () => {
  const final = await save(2)
  await cp(final, `${final}.replaced`, { recursive: true })
  const file = join(final, 'optimizer.safetensors')
  const bytes = await readFile(file)
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) ^ 1
  await writeFile(file, bytes)
  await save(3)
  expect((await readdir(directory)).sort()).toEqual(['step-00000002', 'step-00000002.aside', 'step-00000003'])
  await rm(join(directory, 'step-00000003'), { recursive: true })
  await expectIntact(2)

  await cp(final, `${final}.replaced`, { recursive: true })
  await truncate(join(`${final}.replaced`, 'optimizer.safetensors'), 10)
  await save(3)
  expect((await readdir(directory)).sort()).toEqual(['step-00000002', 'step-00000002.aside', 'step-00000003'])
})

test('the unfinished write of a killed process is reported, skipped and removed by the next write', async () => {
  await save(1)
  disk.left = 8
  await expect(save(2)).rejects.toThrow()
  disk.left = Number.POSITIVE_INFINITY
  expect(await readdir(directory)).toContain('.step-00000002.writing')
  const { checkpoint, skipped } = await newest()
  expect(checkpoint?.step).toBe(1)
  expect(skipped).toEqual([
    '.step-00000002.writing: it is incomplete: it is being written, or the process that wrote it ended',
  ])
  await save(3)
  expect((await readdir(directory)).sort()).toEqual(['step-00000001', 'step-00000003'])
})

test('leftovers of a removed checkpoint that cannot be deleted do not block training', async () => {
  await save(1)
  await mkdir(join(directory, '.step-00000000.removed'))
  disk.locked = '.removed'
  await save(2)
  expect((await newest()).checkpoint?.step).toBe(2)
})

test('a checkpoint that may not be read is an error, and is not skipped as if it were damaged', async () => {
  const forbidden = async () => {
    throw new ForbiddenFile('cannot read SHA256SUMS: permission denied')
  }
  const files = { text: forbidden, size: forbidden, sum: forbidden }
  await expect(verify(files, 1, 'contents')).rejects.toThrow('cannot read SHA256SUMS: permission denied')
})

test('a full disk leaves earlier checkpoints and no temporary files; the error has the size needed', async () => {
  await save(1)
  const fs = await vi.importActual<typeof import('node:fs/promises')>('node:fs/promises')
  for (let operations = 0; operations < 12; operations++) {
    disk.left = operations
    disk.error = () => {
      // On a full disk, unlike in a killed process, the cleanup that follows works.
      disk.left = Number.POSITIVE_INFINITY
      return Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
    }
    const failure = await save(2).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(RunError)
    expect(String(failure)).toMatch(/cannot write checkpoint .*step-00000002: the disk is full \([\d.]+ k?B needed, /)
    expect(await fs.readdir(directory)).toEqual(['step-00000001'])
    disk.left = Number.POSITIVE_INFINITY
    await expectIntact(1)
  }
})

test('a first checkpoint that fails leaves no empty folder, which would count as one that lost its checkpoints', async () => {
  const tensors = tensorsOf(1)
  floatsOf((tensors.model[0] as NamedTensor).range)[0] = Number.NaN
  await expect(writeCheckpoint(directory, 1, tensors, {}, { keep: 1 })).rejects.toThrow(/not finite/)
  expect(await readdir(root)).toEqual([])
})

test('a state that JSON cannot represent is an internal error', async () => {
  await expect(writeCheckpoint(directory, 1, tensorsOf(1), { mean: Number.NaN }, { keep: 1 })).rejects.toThrow(
    'internal: checkpoint state has mean: NaN',
  )
})

test.each([
  ['', []],
  [', even with a newer one that is damaged', [1000]],
])('reading while a training writes and removes checkpoints gives one of a single step%s', async (_, damaged) => {
  for (const step of damaged) await truncate(join(await save(step), 'model.safetensors'), 10)
  await save(1, 1)
  let isWriting = true
  const writing = (async () => {
    for (let step = 2; step < 60; step++) await save(step, 1)
  })().finally(() => {
    isWriting = false
  })
  const steps: number[] = []
  while (isWriting) {
    const { model } = tensorsOf(0)
    const found = await readNewestCheckpoint(directory, { model }, () => {})
    const step = found?.step ?? Number.NaN
    expect(numbersOf(model)).toEqual(numbersOf(tensorsOf(step).model))
    expect(found?.state).toEqual({ step, order: [3, 1] })
    steps.push(step)
  }
  await writing
  expect(new Set(steps).size).toBeGreaterThan(5)
  expect(steps).toEqual(steps.toSorted((a, b) => a - b))
})

test('an intact checkpoint that does not fit the model is an error if no newer one appears', async () => {
  await save(1)
  const [{ range }] = tensorsOf(0).model as [NamedTensor]
  const other = [{ name: 'other', shape: [1], range: { ...range, count: 1 } }]
  await expect(readNewestCheckpoint(directory, { model: other }, () => {})).rejects.toThrow(RunError)
  expect(await readNewestCheckpoint(join(root, 'nowhere'), { model: other }, () => {})).toBeNull()
})

test.each([
  ['F32', [1, 2, Number.NaN, 3]],
  ['F32', [1, Number.NEGATIVE_INFINITY, 2, 3]],
  // Each float32 holds two numbers, the second in its higher bits: 2 and infinity, then NaN and 2.
  ['BF16', [2, new Float32Array(Uint32Array.of(0x7f80_4000).buffer)[0] as number]],
  ['BF16', [2, new Float32Array(Uint32Array.of(0x4000_ffc0).buffer)[0] as number]],
] as const)('a training does not continue from moments in %s that are not finite: %j', async (dtype, values) => {
  const range = { arena: arenaOf({ buffer: new SharedArrayBuffer(4 * values.length) }), start: 0, count: values.length }
  const shape = [values.length * (dtype === 'BF16' ? 2 : 1)]
  const moments = { name: 'moments', shape, range, ...(dtype === 'BF16' && { dtype }) }
  const tensors = { model: tensorsOf(1).model, optimizer: [moments] }
  const write = (step: number) => writeCheckpoint(directory, step, tensors, {}, { keep: 2 })
  floatsOf(range).fill(2)
  await readCheckpoint(await write(1), tensors)
  floatsOf(range).set(values)
  const path = await write(2)
  await expect(readCheckpoint(path, tensors)).rejects.toThrow(
    `${path}/optimizer.safetensors: moments holds numbers that are not finite`,
  )
})

test('parameters that are not finite are never saved, and earlier checkpoints stay', async () => {
  await writeCheckpoint(directory, 1, tensorsOf(1), {}, { keep: 1 })
  for (const value of [Number.NaN, Number.NEGATIVE_INFINITY]) {
    const tensors = tensorsOf(2)
    const { name, range } = tensors.model[1] as NamedTensor
    floatsOf(range)[range.count - 1] = value
    const failure = await writeCheckpoint(directory, 2, tensors, {}, { keep: 1 }).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(RunError)
    expect(String(failure)).toContain(`no checkpoint of step 2 is written: ${name} holds numbers that are not finite`)
    expect(await readdir(directory)).toEqual(['step-00000001'])
  }
  // A second moment may have overflowed: its parameter then stays as it is.
  const tensors = tensorsOf(2)
  floatsOf((tensors.optimizer[0] as NamedTensor).range)[0] = Number.POSITIVE_INFINITY
  await writeCheckpoint(directory, 2, tensors, {}, { keep: 1 })
  expect(await readdir(directory)).toEqual(['step-00000002'])
})
