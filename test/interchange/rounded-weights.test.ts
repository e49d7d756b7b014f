/**
 * Copies of rounded weights beside the files of a model: they are used while they are current, and nothing that happens
 * to them harms the model or the folder.
 *
 * @slow
 */
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { expect, test } from 'vitest'
import type { Fields } from '../../src/core/config/fields.ts'
import { floatsOf } from '../../src/engine/contract/arena.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { openRuntime } from '../../src/node/run/session.ts'
import { makeTemporaryFolder } from '../../src/node/system/temporary-folders.ts'
import type { NamedTensor } from '../../src/train/step/store/named-tensors.ts'
import { samples } from '../../src/use/foreign/testing/samples.ts'
import { QuantizedStore } from '../../src/use/infer/quantized/quantized-store.ts'
import type { QuantizedFormat } from '../../src/use/infer/quantized/weight-format.ts'
import { loadRounded, type ModelFiles, type RoundedOptions } from '../../src/use/runs/rounded-weights.ts'
import { findModel } from '../../src/use/runs/stored-model.ts'
import { loadModel } from '../../src/use/runs/trained-model.ts'
import { writeFolder } from './folders.ts'

const temporary = temporaryFolder()

/** Random weights of OLMoE's architecture as a folder. */
const folderOf = (type: 'F32' | 'BF16' | 'F16' = 'F32'): string =>
  writeFolder(join(temporary.make(), 'model'), samples.olmoe as Fields, { type }).folder

interface FillOptions extends Partial<RoundedOptions> {
  readonly messages?: string[]
  readonly weights?: QuantizedFormat
}

/** Fills a store, with a copy of any size, and says how many tensors were read from the folder of the model. */
async function fill(folder: string, { messages = [], weights = 'int8', ...options }: FillOptions = {}) {
  const found = await findModel(folder, {}, undefined, () => {})
  const runtime = await openRuntime(found.config)
  try {
    const store = new QuantizedStore(runtime, found.config.model, weights, 0)
    let read = 0
    const load = (tensors: readonly NamedTensor[]) => {
      read = tensors.length
      return found.load(tensors, options.signal)
    }
    await loadRounded(store, load, {
      files: found.files as ModelFiles,
      onMessage: ({ message }) => messages.push(message),
      leastBytes: 0,
      reserveBytes: 0,
      ...options,
    })
    const bytes = store.images.map((range) => floatsOf(range).slice())
    return { read, bytes }
  } finally {
    await runtime.close()
  }
}

const hidden = (folder: string) => readdirSync(folder).filter((name) => name.startsWith('.'))

test('are the same from their copy, which is made once', async () => {
  const folder = folderOf()
  const messages: string[] = []
  const [first, second] = [await fill(folder, { messages }), await fill(folder, { messages })]
  expect(first.read).toBeGreaterThan(0)
  expect(second).toEqual({ ...first, read: 0 })
  expect(messages).toEqual([expect.stringMatching(/^wrote the rounded weights to .*choir-int8 \(.* kB\)/)])
  expect(hidden(folder)).toEqual([])
})

test('are made again when a file of the model has changed, or a byte of the copy', async () => {
  const folder = folderOf()
  const first = await fill(folder)
  const later = new Date(Date.now() + 10_000)
  utimesSync(join(folder, 'config.json'), later, later)
  expect(await fill(folder)).toEqual(first)
  expect((await fill(folder)).read).toBe(0)
  const copy = join(folder, 'choir-int8', 'weights-1.bin')
  const bytes = readFileSync(copy)
  bytes[bytes.length - 5] = (bytes.at(-5) as number) ^ 1
  writeFileSync(copy, bytes)
  const messages: string[] = []
  expect(await fill(folder, { messages })).toEqual(first)
  expect(messages[0]).toMatch(/^rounding the weights again: .*weights-1\.bin is damaged: its bytes have changed/)
  expect((await fill(folder)).read).toBe(0)
})

test('are the same from a copy that was moved, or that others may write', async () => {
  const folder = folderOf()
  const first = await fill(folder)
  const copy = join(folder, 'choir-int8')
  const sums = () =>
    JSON.parse(readFileSync(join(copy, 'source.json'), 'utf8')).images as { sum: string; state: string }[]
  const before = sums()
  for (const path of readdirSync(copy).filter((name) => name.endsWith('.bin'))) {
    copyFileSync(join(copy, path), join(folder, path))
    renameSync(join(folder, path), join(copy, path))
    chmodSync(join(copy, path), 0o666)
  }
  expect(await fill(folder)).toEqual({ ...first, read: 0 })
  // Their bytes were compared with the sums, and the states in which they have them are known now.
  expect(sums().map(({ sum }) => sum)).toEqual(before.map(({ sum }) => sum))
  expect(sums()).not.toEqual(before)
  expect(await fill(folder)).toEqual({ ...first, read: 0 })
})

test('a file of a copy that is too short or missing is noticed', async () => {
  const folder = folderOf()
  const first = await fill(folder)
  const path = join(folder, 'choir-int8', 'weights-1.bin')
  const messages: string[] = []
  truncateSync(path, 1000)
  expect(await fill(folder, { messages })).toEqual(first)
  expect(messages[0]).toMatch(/weights-1\.bin is damaged: it has 1000 bytes \(expected \d+\)$/)
  rmSync(path)
  expect(await fill(folder)).toEqual(first)
  expect((await fill(folder)).read).toBe(0)
})

test('what the user has in the folder of the model stays, whatever its name', async () => {
  const folder = folderOf()
  const old = new Date(Date.now() - 100 * 3600 * 1000)
  for (const name of ['.scratch-notes', 'choir-int8']) {
    mkdirSync(join(folder, name))
    writeFileSync(join(folder, name, 'mine.txt'), 'mine')
    utimesSync(join(folder, name), old, old)
  }
  symlinkSync(join(folder, 'gone'), join(folder, 'extra.json'))
  const messages: string[] = []
  await fill(folder, { messages })
  expect(messages).toEqual([expect.stringMatching(/^cannot write .*is not such a copy \(move it away\)/)])
  for (const name of ['.scratch-notes', 'choir-int8'])
    expect(readFileSync(join(folder, name, 'mine.txt'), 'utf8')).toBe('mine')
})

test('are made again when a file was replaced by another of the same size and time of modification', async () => {
  const folder = folderOf()
  const first = await fill(folder)
  const path = join(folder, 'model.safetensors')
  const { atime, mtime } = statSync(path)
  const bytes = readFileSync(path)
  // The last number of the file, in float32.
  bytes.writeFloatLE(2 * bytes.readFloatLE(bytes.length - 4), bytes.length - 4)
  writeFileSync(path, bytes)
  utimesSync(path, atime, mtime)
  const second = await fill(folder)
  expect(second.read).toBe(first.read)
  expect(second.bytes).not.toEqual(first.bytes)
})

test('a copy that cannot be written is no error', async () => {
  const folder = folderOf()
  const messages: string[] = []
  const { files } = await findModel(folder, {}, undefined, () => {})
  const elsewhere = { ...(files as ModelFiles), copies: join(folder, 'missing', 'choir-') }
  expect(await fill(folder, { messages, files: elsewhere })).toEqual(await fill(folder))
  expect(messages[0]).toMatch(
    /^cannot write the rounded weights to .*choir-int8: .* \(the next start rounds them again\)$/,
  )
})

test('no copy is written if the disk would have too little space left, or if none is wanted', async () => {
  const folder = folderOf()
  const messages: string[] = []
  await fill(folder, { messages, reserveBytes: 2 ** 60 })
  expect(messages).toEqual([
    expect.stringMatching(/^the rounded weights are not kept: .*choir-int8 needs .*, and the disk has .* \(the next/),
  ])
  expect(await fill(folder, { copy: false })).toEqual(await fill(folder))
  expect((await fill(folder, { copy: false })).read).toBeGreaterThan(0)
  expect((await fill(folder)).read).toBe(0)
})

test('bfloat16 weights get a copy too, which has all of their numbers', async () => {
  const folder = folderOf('BF16')
  const [rounded, exact] = [
    await fill(folder, { weights: 'bf16' }),
    await fill(folder, { weights: 'bf16', copy: false }),
  ]
  const mapped = await fill(folder, { weights: 'bf16' })
  expect(readdirSync(folder)).toContain('choir-bf16')
  expect(mapped.read).toBe(0)
  expect(mapped.bytes).toEqual(rounded.bytes)
  expect(exact.bytes).toEqual(rounded.bytes)
})

test('an interrupt ends loading and leaves no part of a copy, in reading as in writing', async () => {
  const folder = folderOf()
  const { files } = await findModel(folder, {}, undefined, () => {})
  const before = readdirSync(folder)
  for (const when of ['reading', 'writing']) {
    const controller = new AbortController()
    const reason = new Error(when)
    let states = 0
    const counted: ModelFiles = {
      ...(files as ModelFiles),
      // The state is computed before the tensors are read, and before the copy is written.
      async state() {
        if (++states === (when === 'reading' ? 1 : 2)) controller.abort(reason)
        return (files as ModelFiles).state()
      },
    }
    await expect(fill(folder, { files: counted, signal: controller.signal })).rejects.toBe(reason)
    expect(states).toBe(when === 'reading' ? 1 : 2)
    expect(readdirSync(folder)).toEqual(before)
  }
  const controller = new AbortController()
  controller.abort(new Error('at once'))
  await expect(loadModel(folder, { signal: controller.signal, weights: 'int8' }, () => {})).rejects.toThrow('at once')
})

test('several first starts at once leave one intact copy, and only one of them says that it wrote it', async () => {
  const folder = folderOf()
  const messages: string[] = []
  const filled = await Promise.all(Array.from({ length: 4 }, () => fill(folder, { messages })))
  for (const each of filled) expect(each.bytes).toEqual(filled[0]?.bytes)
  expect(messages).toEqual([expect.stringMatching(/^wrote the rounded weights/)])
  expect(await fill(folder)).toEqual({ ...filled[0], read: 0 })
  expect(hidden(folder)).toEqual([])
})

test('what a killed process left of a copy is removed by the next copy', async () => {
  const folder = folderOf()
  const own = await makeTemporaryFolder(folder, 'building')
  const [, owner, pid] = basename(own).split('-')
  const left = `.building-${owner}-${pid}-00000000-abcdef`
  mkdirSync(join(folder, left))
  await fill(folder)
  expect(hidden(folder)).toEqual([basename(own)])
})
