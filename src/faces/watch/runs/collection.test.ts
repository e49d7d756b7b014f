import { linkSync } from 'node:fs'
import { appendFile, mkdir, mkdtemp, realpath, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { UsageError } from '../../../core/errors.ts'
import { lockRun } from '../../../node/system/lock.ts'
import { eventually } from '../../../node/system/testing/eventually.ts'
import type { Change, RunSummary } from '../api.ts'
import { WatchedCollection } from './collection.ts'
import { RunDirectoryReader } from './run-directory-reader.ts'

let folder: string
const open: WatchedCollection[] = []
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'choir-collection-')))
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((collection) => collection.close()))
  await rm(folder, { recursive: true })
})

async function watch(...roots: string[]): Promise<WatchedCollection> {
  const collection = await WatchedCollection.open(roots.length > 0 ? roots : [folder], { pollMs: 10 })
  open.push(collection)
  return collection
}

/** Waits until all files have been read. */
const read = (collection: WatchedCollection) => eventually(() => expect(collection.describe().progress).toBeNull())
const names = (collection: WatchedCollection) => collection.describe().runs.map(({ name }) => name)
const only = (collection: WatchedCollection): RunSummary => {
  const { runs } = collection.describe()
  if (runs.length !== 1 || !runs[0]) throw new Error(`expected one run, got ${runs.map(({ name }) => name)}`)
  return runs[0]
}

const config = (steps: number, more: object = {}) => ({
  version: '0.1.0',
  created: '2026-01-02T03:04:05.000Z',
  model: { layers: 2, width: 32, heads: 2, moe: { experts: 4, ...more } },
  data: { source: ['a.txt', 'b.txt'] },
  train: { steps },
})
const train = (step: number) => ({
  kind: 'train',
  step,
  tokens: 100 * step,
  loss: 10 / step,
  tokens_per_second: 200,
  step_ms: 500,
})
const routing = (step: number, layer: number) => ({
  step,
  layer,
  module: 'ffn',
  capacity: null,
  tokens_per_expert: [step, layer, 0, 1],
  kept_per_expert: [step, layer, 0, 0],
})
const lines = (records: readonly object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('')

async function put(path: string, contents: string | object): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true })
  await writeFile(join(folder, path), typeof contents === 'string' ? contents : JSON.stringify(contents))
}

async function putRun(path: string, steps: number, done: number): Promise<void> {
  await put(`${path}/config.json`, config(steps))
  await put(`${path}/metrics.jsonl`, lines(Array.from({ length: done }, (_, index) => train(index + 1))))
}

/** Makes files look as if they were written an hour ago. */
async function makeQuiet(path: string): Promise<void> {
  const then = new Date(Date.now() - 3_600_000)
  for (const name of ['config.json', 'metrics.jsonl', 'routing.jsonl'])
    await utimes(join(folder, path, name), then, then).catch(() => {})
}

test('a run of a study is named by its folder, and by its full arm once the arm is written', async () => {
  await putRun('quick/runs/2-top-1-1.25x-seed-10-2ba4cd10', 4, 4)
  await putRun('a-seed-1', 4, 4)
  const collection = await watch()
  await read(collection)
  expect(names(collection)).toEqual(['a-seed-1', 'quick/2-top-1-1.25x, seed 10'])
  await put('quick/runs/2-top-1-1.25x-seed-10-2ba4cd10/arm.json', { arm: '2 top-1 (1.25x)' })
  await eventually(() => expect(names(collection)).toEqual(['a-seed-1', 'quick/2 top-1 (1.25x), seed 10']))
  const [other, run] = collection.describe().runs
  expect(run).toMatchObject({
    path: 'quick/runs/2-top-1-1.25x-seed-10-2ba4cd10',
    config: { 'study.arm': '2 top-1 (1.25x)' },
  })
  expect(other?.path).toBe('a-seed-1')
  expect(other?.config).not.toHaveProperty('study.arm')
})

test('the learning rate is in the name of a run if runs of its arm and purpose have several', async () => {
  for (const [path, learningRate] of [
    ['runs/top-1-seed-1-00000001', 0.001],
    ['runs/top-1-seed-1-00000002', 0.002],
    ['runs/top-1-seed-2-00000003', 0.001],
    ['trials/top-1-seed-2-00000004', 0.001],
    ['confirming/top-1-seed-100-00000005', 0.001],
    ['confirming/top-1-seed-100-00000006', 0.002],
  ] as const) {
    const { train: settings, ...rest } = config(4)
    await put(`${path}/config.json`, { ...rest, train: { ...settings, schedule: { learningRate } } })
  }
  const collection = await watch()
  await read(collection)
  expect(names(collection)).toEqual([
    'top-1, seed 1, lr 0.001',
    'top-1, seed 1, lr 0.002',
    'top-1, seed 2, lr 0.001',
    'top-1, seed 2, trial',
    'top-1, seed 100, confirming run, lr 0.001',
    'top-1, seed 100, confirming run, lr 0.002',
  ])
  // So that runs by which no arm is judged are another experiment than the others.
  expect(collection.describe().runs.map(({ config: fields }) => fields['study.purpose'])).toEqual([
    ...[undefined, undefined, undefined],
    ...['trial', 'confirming run', 'confirming run'],
  ])
})

test('runs of an arm with several lengths have their steps in their names', async () => {
  for (const [path, steps] of [
    ['runs/top-1-seed-1-00000001', 4],
    ['runs/top-1-seed-1-00000002', 8],
    ['runs/top-2-seed-1-00000003', 8],
  ] as const)
    await put(`${path}/config.json`, config(steps))
  const collection = await watch()
  await read(collection)
  expect(names(collection)).toEqual(['top-1, seed 1, 4 steps', 'top-1, seed 1, 8 steps', 'top-2, seed 1'])
})

test('a run is read in full: configuration, last values, curves, experts', async () => {
  await putRun('a', 4, 4)
  await appendFile(
    join(folder, 'a/metrics.jsonl'),
    lines([{ kind: 'eval', step: 4, tokens: 400, loss: 3, bits_per_byte: 1.5 }]),
  )
  await put('a/routing.jsonl', lines([2, 4].flatMap((step) => [routing(step, 0), routing(step, 1)])))
  // The last checkpoint is still being written.
  for (const name of ['step-00000002', 'step-00000004', '.step-00000006-new'])
    await mkdir(join(folder, 'a/checkpoints', name), { recursive: true })
  const collection = await watch()
  await read(collection)
  const summary = only(collection)
  expect(summary).toMatchObject({
    name: 'a',
    kind: 'choir',
    state: 'finished',
    step: 4,
    steps: 4,
    tokens: 400,
    loss: 2.5,
    heldOutLoss: 3,
    bitsPerByte: 1.5,
    tokensPerSecond: 200,
    secondsLeft: null,
    created: Date.UTC(2026, 0, 2, 3, 4, 5),
    lines: 5,
    reading: false,
    metrics: ['train/loss', 'train/tokens_per_second', 'train/step_ms', 'eval/loss', 'eval/bits_per_byte'],
    routed: true,
    traceable: true,
    checkpoint: expect.stringMatching(/^step-00000004 /),
  })
  expect(summary.id).toMatch(/^[0-9a-f]{10}$/)
  expect(summary.config).toMatchObject({ 'model.moe.experts': 4, 'train.steps': 4, 'data.source': 'a.txt,b.txt' })
  expect(summary).not.toHaveProperty('problem')
  expect(collection.describe().roots).toEqual([folder])

  const run = collection.run(summary.id)
  expect(run?.directory).toBe(join(folder, 'a'))
  const all = { smoothing: 0, points: 100 }
  expect(run?.series('train/loss', { x: 'tokens', ...all })).toMatchObject({ run: summary.id, x: [100, 200, 300, 400] })
  const flops = run?.series('train/loss', { x: 'flops', ...all })?.x ?? []
  expect(flops[0]).toBeGreaterThan(100 * 6 * 32)
  expect(run?.routing()).toMatchObject({ run: summary.id, experts: 4, steps: [2, 4] })
  expect([...(run?.loads(1, 2) ?? [])]).toEqual([4, 0, 0, 1, 4, 0, 0, 0, 4, 1, 0, 1, 4, 1, 0, 0])
  expect(run?.routingSummary(1).drop_rate).toEqual([null, null])
  expect(collection.run('0000000000')).toBeUndefined()
})

test('a run that is being written is followed, and changes are reported at most twice a second', async () => {
  await putRun('a', 100, 2)
  const collection = await watch()
  const received: { change: Change; at: number }[] = []
  collection.onChange((change) => received.push({ change, at: performance.now() }))
  await read(collection)
  expect(only(collection)).toMatchObject({ state: 'running', step: 2, secondsLeft: 49 })
  for (let step = 3; step <= 30; step++) {
    await appendFile(join(folder, 'a/metrics.jsonl'), lines([train(step)]))
    await new Promise((resolve) => setTimeout(resolve, 40))
  }
  await eventually(() => expect(only(collection)).toMatchObject({ step: 30, secondsLeft: 35 }))
  await eventually(() => expect(received.at(-1)?.change.version).toBe(collection.describe().version))
  const { id } = only(collection)
  for (const { change } of received) expect(change.runs).toEqual([id])
  expect(received.length).toBeGreaterThan(1)
  const gaps = received.slice(1).map(({ at }, index) => at - (received[index]?.at ?? 0))
  expect(Math.min(...gaps)).toBeGreaterThan(450)
  const versions = received.map(({ change }) => change.version)
  expect(versions).toEqual([...versions].sort((a, b) => a - b))
})

test('runs appear, restart and disappear', async () => {
  const collection = await watch()
  await read(collection)
  expect(names(collection)).toEqual([])
  await putRun('new', 5, 5)
  await eventually(() => expect(names(collection)).toEqual(['new']))
  await eventually(() => expect(only(collection).step).toBe(5))
  await putRun('new', 5, 1)
  await eventually(() => expect(only(collection)).toMatchObject({ step: 1, lines: 1 }))
  await rm(join(folder, 'new'), { recursive: true })
  await eventually(() => expect(names(collection)).toEqual([]))
})

test('a second server and a recreated run have other generations and versions', async () => {
  const shown = async (collection: WatchedCollection) => {
    await read(collection)
    const generation = await eventually(() => {
      const routing = collection.run(only(collection).id)?.routing()
      expect(routing).toBeDefined()
      return routing?.generation
    })
    return { generation, version: collection.describe().version }
  }
  const make = async () => {
    await putRun('a', 4, 4)
    await put('a/routing.jsonl', lines([routing(2, 0), routing(2, 1)]))
  }
  await make()
  const collection = await watch()
  const seen = [await shown(collection), await shown(await watch())]
  await rm(join(folder, 'a'), { recursive: true })
  await eventually(() => expect(names(collection)).toEqual([]))
  await make()
  await eventually(() => expect(names(collection)).toEqual(['a']))
  seen.push(await shown(collection))
  expect(new Set(seen.map(({ generation }) => generation)).size).toBe(3)
  expect(new Set(seen.map(({ version }) => version)).size).toBe(3)
})

test('setting the clock back an hour delays nothing', async () => {
  await putRun('a', 5, 1)
  const collection = await watch()
  const received: Change[] = []
  collection.onChange((change) => received.push(change))
  await read(collection)
  const now = Date.now.bind(Date)
  vi.spyOn(Date, 'now').mockImplementation(() => now() - 3_600_000)
  try {
    await putRun('a', 5, 4)
    await putRun('b', 5, 5)
    await eventually(() => expect(collection.describe().runs).toMatchObject([{ step: 4 }, { step: 5 }]))
    await eventually(() => expect(received.at(-1)?.version).toBe(collection.describe().version))
  } finally {
    vi.restoreAllMocks()
  }
})

test('a run is running while it is written, finished after its last step, and otherwise stopped', async () => {
  await putRun('running', 10, 3)
  await putRun('finished', 3, 3)
  await putRun('stopped', 10, 3)
  await putRun('thinking', 10, 3)
  for (const name of ['finished', 'stopped', 'thinking']) await makeQuiet(name)
  // A long evaluation writes nothing, but the process still holds the lock.
  const lock = await lockRun(join(folder, 'thinking'))
  // The lock of a killed process stays behind.
  await put('stopped/.lock', { pid: 2 ** 30, host: 'elsewhere', id: 'x', since: '' })
  const collection = await watch()
  await read(collection)
  const states = () => Object.fromEntries(collection.describe().runs.map(({ name, state }) => [name, state]))
  expect(states()).toEqual({ running: 'running', finished: 'finished', stopped: 'stopped', thinking: 'running' })
  await lock.release()
  await eventually(() => expect(states()).toMatchObject({ thinking: 'stopped' }))
})

test('a run is stopped as soon as its lock is released, and running once another process takes it', async () => {
  await putRun('demo', 10, 3)
  const lock = await lockRun(join(folder, 'demo'))
  const collection = await watch()
  await read(collection)
  expect(only(collection).state).toBe('running')
  await putRun('demo', 10, 4)
  await lock.release()
  await eventually(() => expect(only(collection)).toMatchObject({ state: 'stopped', step: 4 }))
  const next = await lockRun(join(folder, 'demo'))
  await eventually(() => expect(only(collection).state).toBe('running'))
  await next.release()
  await eventually(() => expect(only(collection).state).toBe('stopped'))
})

test('the part of the held-out text that an evaluation was on is known, unless it was on all of it', async () => {
  for (const [name, evaluated_tokens, evalBatches] of [
    ['part', 256, 2],
    ['short text', 200, 2],
    ['whole', 256, 0],
  ] as const) {
    const { model, ...rest } = config(1)
    const train = { steps: 1, batch: 4, evalBatches }
    await put(`${name}/config.json`, { ...rest, model: { ...model, sequence: 32 }, train })
    const record = { kind: 'eval', step: 1, tokens: 100, loss: 3, evaluated_tokens }
    await put(`${name}/metrics.jsonl`, lines([record]))
  }
  const collection = await watch()
  await read(collection)
  expect(collection.describe().runs.map(({ name, heldOutPart }) => [name, heldOutPart])).toEqual([
    ['part', 256],
    ['short text', undefined],
    ['whole', undefined],
  ])
})

describe('a run that left a record of a failure', () => {
  const skipped = (step: number) => ({ ...train(step), loss: null, grad_norm: null, skipped: true })

  /** A run of `done` steps of which the last `count` were not finite. */
  async function putDiverged(path: string, done: number, count: number): Promise<void> {
    const records = Array.from({ length: done }, (_, i) => (i < done - count ? train(i + 1) : skipped(i + 1)))
    await put(`${path}/config.json`, { ...config(100), train: { steps: 100, maxNonFinite: 3 } })
    await put(`${path}/metrics.jsonl`, lines(records))
    await makeQuiet(path)
  }

  test('is failed after train.maxNonFinite steps that are not finite, with the reason of the terminal and its record', async () => {
    await putDiverged('diverged', 6, 3)
    const record = { step: 6, loss: 'NaN', grad_norm: 'Infinity', where: 'first in the gradient of head', tokens: [1] }
    await put('diverged/non-finite/step-00000006.json', record)
    await putDiverged('from the start', 3, 3)
    await putDiverged('stopped', 6, 2)
    const collection = await watch()
    await read(collection)
    const [diverged, start, stopped] = collection.describe().runs
    expect(diverged).toMatchObject({
      state: 'failed',
      failure:
        'step 6: the loss is NaN, first in the gradient of head; no parameter was changed; stopped after 3 such steps in a row',
    })
    expect(diverged).not.toHaveProperty('problem')
    const stored = await collection.run(diverged?.id ?? '')?.failureRecord?.()
    expect(JSON.parse(String(stored))).toEqual(record)
    // Its batch could not be saved.
    expect(start).toMatchObject({ state: 'failed', failure: expect.stringMatching(/^step 3: the loss is not finite;/) })
    expect(await collection.run(start?.id ?? '')?.failureRecord?.()).toBeUndefined()
    // Somebody else stopped this one.
    expect(stopped).toMatchObject({ state: 'stopped', problem: 'the newest loss is not finite' })
    expect(stopped).not.toHaveProperty('failure')
  })

  test('is failed, not finished, if its last steps were not finite or a rank failed after them', async () => {
    await putDiverged('diverged', 100, 3)
    await putRun('ranks', 10, 10)
    await put('ranks/failure.json', { rank: 1, host: 'b', pid: 4711, reason: 'was killed' })
    await putRun('whole', 10, 10)
    const collection = await watch()
    await read(collection)
    expect(collection.describe().runs.map(({ name, state }) => [name, state])).toEqual([
      ['diverged', 'failed'],
      ['ranks', 'failed'],
      ['whole', 'finished'],
    ])
  })

  test('is failed with the words of the rank that failed first, until it goes on', async () => {
    await putRun('ranks', 10, 3)
    await put('ranks/failure.json', { rank: 1, host: 'b', pid: 4711, reason: 'was killed' })
    await makeQuiet('ranks')
    const collection = await watch()
    await read(collection)
    expect(only(collection)).toMatchObject({ state: 'failed', failure: 'rank 1 (b, PID 4711): was killed' })
    const lock = await lockRun(join(folder, 'ranks'))
    await eventually(() => expect(only(collection).state).toBe('running'))
    expect(only(collection)).not.toHaveProperty('failure')
    await rm(join(folder, 'ranks/failure.json'))
    await lock.release()
    await eventually(() => expect(only(collection).state).toBe('stopped'))
  })
})

test('a damaged run reports its problem and all that can be read, and other runs are unaffected', async () => {
  await putRun('good', 3, 3)
  await putRun('broken', 3, 2)
  await put('broken/config.json', '{"model": {')
  await putRun('invalid', 3, 2)
  await put('invalid/config.json', { ...config(3), model: { layers: -1 } })
  await putRun('noisy', 3, 3)
  await appendFile(join(folder, 'noisy/metrics.jsonl'), 'oops\n')
  const collection = await watch()
  await read(collection)
  const [broken, good, invalid, noisy] = collection.describe().runs
  expect(broken).toMatchObject({ name: 'broken', state: 'unreadable', problem: 'config.json is not JSON', step: 2 })
  expect(good).toMatchObject({ name: 'good', state: 'finished', step: 3 })
  expect(good).not.toHaveProperty('problem')
  expect(invalid).toMatchObject({ state: 'unreadable', step: 2, steps: 3, config: { 'model.layers': -1 } })
  expect(invalid?.problem).toContain('model.layers')
  expect(noisy).toMatchObject({ state: 'finished', problem: 'metrics.jsonl: line 4 is not JSON; lines left out: 1' })
})

test('a file that cannot be read is reported, and read once it can be', async () => {
  await putRun('a', 3, 3)
  const config = join(folder, 'a/config.json')
  await rename(config, join(folder, 'outside'))
  await symlink(join(folder, 'outside'), config)
  const collection = await watch(join(folder, 'a'))
  await read(collection)
  expect(only(collection)).toMatchObject({ state: 'unreadable', problem: expect.stringMatching(/^config.json cannot/) })
  // The same file, with the same inode and times.
  await rename(join(folder, 'outside'), config)
  await eventually(() => expect(only(collection)).toMatchObject({ state: 'finished', steps: 3 }))
  expect(only(collection)).not.toHaveProperty('problem')
})

test('runs are found in subfolders and sorted by name, numbers by value; other folders are ignored', async () => {
  await putRun('runs/b10', 1, 1)
  await putRun('runs/b9', 1, 1)
  await putRun('runs/deep/er/a', 1, 1)
  await putRun('runs/node_modules/x', 1, 1)
  await putRun('runs/.hidden', 1, 1)
  await putRun('1/2/3/4/5/6/7/too-deep', 1, 1)
  // A model of another program, and data.
  await put('other/config.json', { architectures: ['GPT'] })
  await put('other/data.jsonl', lines([{ text: 'layer' }]))
  const collection = await watch()
  await read(collection)
  expect(names(collection)).toEqual(['runs/b9', 'runs/b10', 'runs/deep/er/a'])
  const one = await watch(join(folder, 'runs/b9'), join(folder, 'runs'))
  await read(one)
  // A root that is a run has its own name; a run found twice is listed once.
  expect(names(one)).toEqual(['b9', 'b10', 'deep/er/a'])
  const idOf = (of: WatchedCollection, name: string) => of.describe().runs.find((run) => run.name === name)?.id
  expect(idOf(one, 'b9')).toBe(idOf(collection, 'runs/b9'))
})

test('a folder of very many files hides no run beside it, and removed runs still disappear', async () => {
  for (const name of ['a', 'm', 'z']) await putRun(name, 1, 1)
  await put('full/0', '')
  for (let file = 1; file <= 20_000; file++) linkSync(join(folder, 'full/0'), join(folder, `full/${file}`))
  const collection = await watch()
  await read(collection)
  expect(names(collection)).toEqual(['a', 'm', 'z'])
  await rm(join(folder, 'm'), { recursive: true })
  await eventually(() => expect(names(collection)).toEqual(['a', 'z']))
})

test('links are not followed outside or in circles', async () => {
  await putRun('outside/run', 3, 3)
  await putRun('root/run', 3, 1)
  await symlink(join(folder, 'outside'), join(folder, 'root/away'))
  await symlink(join(folder, 'root'), join(folder, 'root/circle'))
  await put('root/linked/config.json', config(3))
  await symlink(join(folder, 'outside/run/metrics.jsonl'), join(folder, 'root/linked/metrics.jsonl'))
  const collection = await watch(join(folder, 'root'))
  await read(collection)
  expect(collection.describe().runs).toMatchObject([
    { name: 'linked', step: 0, lines: 0, metrics: [], problem: expect.stringMatching(/^metrics.jsonl cannot be read/) },
    { name: 'run', step: 1 },
  ])
})

test('names in files and folders are treated as data', async () => {
  const hostile = '<img src=x onerror=alert(1)>'
  await putRun(`${hostile}`, 2, 2)
  await put(
    `${hostile}/config.json`,
    JSON.stringify({ ...config(2), data: { source: hostile } }).replace('"version"', '"__proto__":{"a":1},"version"'),
  )
  await appendFile(join(folder, hostile, 'metrics.jsonl'), `{"kind":"train","step":3,"${hostile}":1,"__proto__":2}\n`)
  const collection = await watch()
  await read(collection)
  const summary = only(collection)
  expect([summary.name, summary.config['data.source']]).toEqual([hostile, hostile])
  expect(summary.metrics).toContain(`train/${hostile}`)
  expect(Object.getPrototypeOf(summary.config)).toBe(Object.prototype)
})

test('a line of 20 MB in each file is skipped and counted', async () => {
  await putRun('a', 4, 3)
  const long = `{"kind":"train","step":4,"name":"${'x'.repeat(20 << 20)}"}\n`
  await appendFile(join(folder, 'a/metrics.jsonl'), long)
  await appendFile(join(folder, 'a/metrics.jsonl'), lines([train(4)]))
  await put('a/routing.jsonl', `${long}${lines([routing(4, 0), routing(4, 1)])}`)
  const collection = await watch()
  await read(collection)
  expect(only(collection)).toMatchObject({
    step: 4,
    lines: 5,
    state: 'finished',
    routed: true,
    problem: 'lines longer than 8 MiB are left out: 2',
  })
})

test('a Megatron-Core trace is recognised by its contents, and its ranks are one run', async () => {
  const chosen = (step: number, rank: number) => ({ step, block: 'decoder', layer: 1, rank, top_indices: [[rank, 3]] })
  const python = (records: readonly object[]) => lines(records).replaceAll('":', '": ')
  await put('trace/rank0.jsonl', python([chosen(0, 0), chosen(1, 0)]))
  await put('trace/rank1.jsonl', python([chosen(0, 1), chosen(1, 1)]))
  await put('trace/notes.jsonl', '{"a":1}\n')
  const collection = await watch()
  await read(collection)
  await eventually(() => expect(only(collection)).toMatchObject({ name: 'trace', kind: 'trace', step: 1, lines: 4 }))
  const run = collection.run(only(collection).id)
  await eventually(() => expect(run?.routing()?.steps).toEqual([0, 1]))
  expect([...(run?.loads(0, 1) ?? [])]).toEqual([1, 1, 0, 2, 1, 1, 0, 2])
  expect(await run?.recorded?.(1)).toMatchObject({ step: 1, tokens: ['', ''], routers: [{ expert: [0, 3, 1, 3] }] })

  await put('trace/rank0.jsonl', python([chosen(0, 2)]))
  await eventually(() => expect([...(run?.loads(0, 1) ?? [])]).toEqual([0, 1, 1, 2, 0, 1, 1, 2]))
})

test('an endlessly nested configuration is a problem of that run only', async () => {
  await putRun('deep', 3, 2)
  const nested = '['.repeat(100_000) + ']'.repeat(100_000)
  await put('deep/config.json', `{"model":{"layers":${nested}},"train":{"steps":[${nested}]}}`)
  await putRun('good', 3, 3)
  const collection = await watch()
  await read(collection)
  expect(collection.describe().runs).toMatchObject([
    { name: 'deep', state: 'unreadable', step: 2 },
    { name: 'good', state: 'finished' },
  ])
})

test('a run whose reader throws reports the error, and the others go on', async () => {
  await putRun('bad', 3, 2)
  await putRun('good', 3, 3)
  const poll = RunDirectoryReader.prototype.poll
  vi.spyOn(RunDirectoryReader.prototype, 'poll').mockImplementation(function (this: RunDirectoryReader) {
    return this.directory.endsWith('bad') ? Promise.reject(new TypeError('oops')) : poll.call(this)
  })
  const collection = await watch()
  await read(collection)
  expect(collection.describe().runs).toMatchObject([
    { name: 'bad', state: 'unreadable', problem: 'internal: oops' },
    { name: 'good', state: 'finished', step: 3 },
  ])
})

test('a folder that does not exist or is a file is refused with its name', async () => {
  await put('file', '')
  for (const [name, reason] of [
    ['none', 'there is no such folder'],
    ['file', 'it is a file'],
  ] as const) {
    const opening = WatchedCollection.open([join(folder, name)])
    await expect(opening).rejects.toThrow(UsageError)
    await expect(opening).rejects.toThrow(`${JSON.stringify(join(folder, name))}: ${reason} (expected`)
  }
})
