/** @slow */
import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Fields } from '../../src/core/config/fields.ts'
import type { Family } from '../../src/engine/world/mpi/library.ts'
import { launchers } from '../../src/engine/world/mpi/testing/launch.ts'
import { loadRunConfig } from '../../src/node/run/load-config.ts'
import { openRunData } from '../../src/node/run/session.ts'
import { trainBatch } from '../../src/train/data/batches.ts'
import { samples } from '../../src/use/foreign/testing/samples.ts'
import { writeFolder } from '../interchange/folders.ts'
import { type Parameters, witnessForward } from '../witness/model.ts'
import {
  checkpointsOf,
  evalRecords,
  expectSuccess,
  metricsWithoutTimes,
  prose,
  results,
  trainRecords,
  Workspace,
  withoutLastCheckpoint,
} from './support.ts'

/** Text of other words than the corpus has. */
const verses = (seed: number, characters: number): string =>
  prose(seed, characters).replaceAll('the', 'zephyr').replaceAll('government', 'moonlight').toUpperCase()

let workspace: Workspace
let source: string
beforeAll(async () => {
  workspace = new Workspace()
  source = workspace.file('source')
  writeFileSync(workspace.file('verses.txt'), verses(5, 40_000))
  const train = { steps: 60, checkpointEvery: 30, schedule: { learningRate: 3e-3, warmup: 5 } }
  await expectSuccess(workspace.start('train', workspace.config({ train }), '--out', source))
})
afterAll(() => workspace.remove())

const from = (out: string, ...args: string[]) =>
  workspace.start('train', '--from', source, '--out', workspace.file(out), ...args)

const stored = (run: string) => JSON.parse(readFileSync(join(run, 'config.json'), 'utf8'))
const file = (run: string, checkpoint: string, name: string) => join(run, 'checkpoints', checkpoint, name)

/** The tensors of a file by name. Eight bytes hold the length of a JSON header; the header and the data follow. */
function tensorsOf(path: string): Map<string, { readonly shape: number[]; readonly data: Float32Array }> {
  const bytes = readFileSync(path)
  const start = 8 + Number(bytes.readBigUInt64LE(0))
  const header: Record<string, { shape: number[]; data_offsets: [number, number] }> = JSON.parse(
    bytes.toString('utf8', 8, start),
  )
  return new Map(
    Object.entries(header).flatMap(([name, entry]) => {
      if (name === '__metadata__') return []
      const { shape, data_offsets: at } = entry
      return [[name, { shape, data: new Float32Array(bytes.buffer.slice(start + at[0], start + at[1])) }]]
    }),
  )
}

/** Parameters as the witness names them: the tensors of all experts of a layer are stacked into one. */
function witnessParameters(path: string): Parameters {
  const parameters = new Map<string, { shape: number[]; data: Float64Array }>()
  for (const [name, { shape, data }] of tensorsOf(path)) {
    const stack = name.replace(/\.experts\.\d+\./, '.experts.')
    const before = parameters.get(stack)
    const joined = Float64Array.from([...(before?.data ?? []), ...data])
    const experts = (before?.shape[0] ?? 0) + 1
    parameters.set(stack, { shape: stack === name ? shape : [experts, ...shape], data: joined })
  }
  return parameters
}

test('the first loss is the loss of the source on the first batch of the new text, and training lowers it', async () => {
  await expectSuccess(
    from(
      'tuned',
      '--data',
      workspace.file('verses.txt'),
      '--steps',
      '40',
      '--set',
      'train.batch=6',
      '--set',
      'train.evalEvery=5',
    ),
  )
  const run = workspace.file('tuned')
  const config = await loadRunConfig(run)
  const data = await openRunData(config, { onProgress: () => {} })
  const size = config.train.batch * config.model.sequence
  const batch = { tokens: new Int32Array(size), targets: new Int32Array(size) }
  trainBatch(data.train, { batch: config.train.batch, sequence: config.model.sequence }, config.data.seed, 0, batch)
  await data.close()
  const parameters = witnessParameters(file(source, 'step-00000060', 'model.safetensors'))
  const truth = witnessForward({ config: config.model, parameters, ...batch, batch: 6, training: true })
  const [first] = trainRecords(run)
  expect(first?.loss).toBeCloseTo(truth.loss, 4)

  const [early, ...later] = evalRecords(run)
  expect(later.at(-1)?.loss).toBeLessThan((early?.loss as number) - 0.2)
})

test('a run records where its weights came from, and once it has copied them it resumes without its source, bit for bit', async () => {
  const copy = workspace.file('moving-source')
  cpSync(source, copy, { recursive: true })
  const [run, cut] = [workspace.file('recorded'), workspace.file('cut')]
  const args = ['train', '--from', copy, '--checkpoint', '30', '--steps', '10', '--set', 'train.evalBatches=1']
  const ended = await expectSuccess(workspace.start(...args, '--out', run))
  const weights = readFileSync(file(copy, 'step-00000030', 'model.safetensors'))
  expect(stored(run).from).toEqual({
    run: copy,
    step: 30,
    weights: createHash('sha256').update(weights).digest('hex'),
    differences: [
      { field: 'train.steps', from: 60, to: 10 },
      { field: 'train.evalBatches', from: 2, to: 1 },
    ],
  })
  expect(ended.stdout).toMatch(
    /weights {2}moving-source, step 30\n {2}changed {2}train.steps 60 → 10\n +train.evalBatches 2 → 1\n/,
  )
  expect(checkpointsOf(run)).toEqual(['step-00000000', 'step-00000010'])
  expect(readFileSync(file(run, 'step-00000000', 'model.safetensors'))).toEqual(weights)
  // The optimizer is new: no moment has seen a gradient.
  for (const { data } of tensorsOf(file(run, 'step-00000000', 'optimizer.safetensors')).values())
    expect(data.every((value) => value === 0)).toBe(true)
  expect(readFileSync(join(run, 'tokenizer.json'))).toEqual(readFileSync(join(source, 'tokenizer.json')))

  cpSync(run, cut, { recursive: true })
  rmSync(copy, { recursive: true })
  // The copy looks as if the run had been killed before its first step.
  for (const name of ['checkpoints', 'metrics.jsonl', 'routing.jsonl']) rmSync(join(cut, name), { recursive: true })
  const noCheckpoint = await workspace.choir('train', '--resume', cut)
  expect(noCheckpoint).toMatchObject({ code: 1, stderr: expect.stringContaining('before it had copied the weights') })

  cpSync(source, copy, { recursive: true })
  await expectSuccess(workspace.start('train', '--resume', cut))
  expect(results(cut)).toEqual(results(run))
  rmSync(copy, { recursive: true })
  await expectSuccess(workspace.start('train', '--resume', cut, '--steps', '15'))
  expect(trainRecords(cut)).toHaveLength(15)
}, 60_000)

test('a trained tokenizer is taken over, and encodes the new text', async () => {
  const data = { source: workspace.file('corpus.txt'), tokenizer: { kind: 'bpe' as const } }
  const bpe = workspace.file('bpe')
  const config = workspace.config({ model: { vocabulary: 300 }, data, train: { steps: 5 } })
  await expectSuccess(workspace.start('train', config, '--out', bpe))
  const out = workspace.file('bpe-tuned')
  await expectSuccess(
    workspace.start('train', '--from', bpe, '--data', workspace.file('verses.txt'), '--steps', '3', '--out', out),
  )
  expect(readFileSync(join(out, 'tokenizer.json'))).toEqual(readFileSync(join(bpe, 'tokenizer.json')))
})

test('weights that do not fit, another tokenizer, and a path that is not a run are refused before anything is written', async () => {
  const shapes = await from('refused', '--set', 'model.width=64', '--set', 'model.moe.router=bias').ended
  expect(shapes.code).toBe(2)
  expect(shapes.stderr).toContain('model.width=64 (32 in')
  expect(shapes.stderr).toContain(`embedding: [257, 32] in ${source}, [257, 64] here`)
  expect(shapes.stderr).toContain(`layers.*.moe.router.bias: no such tensor in ${source}, [4] here`)
  const positions = await from('refused', '--set', 'model.positions=learned').ended
  expect(positions.stderr).toContain('positions: no such tensor in')
  const refusals: [string[], string][] = [
    [['--set', 'data.tokenizer.kind=bpe'], 'the tokenizer of'],
    [['--checkpoint', '31'], 'invalid checkpoint: 31'],
    [['--resume', source], 'invalid --resume'],
  ]
  for (const [args, message] of refusals)
    expect(await from('refused', ...args).ended).toMatchObject({ code: 2, stderr: expect.stringContaining(message) })
  const elsewhere: [string, string][] = [
    [workspace.file('nowhere'), 'is not a run'],
    [join(source, 'checkpoints', 'step-00000060'), `expected its run: --from ${source} --checkpoint 60`],
  ]
  for (const [path, message] of elsewhere) {
    const ended = await workspace.choir('train', '--from', path, '--out', workspace.file('refused'))
    expect(ended).toMatchObject({ code: 2, stderr: expect.stringContaining(message) })
  }
  expect(() => readFileSync(join(workspace.file('refused'), 'config.json'))).toThrow('ENOENT')
})

test('frozen parameters keep the bits of the source; another choice does not resume, and a misspelt name is refused', async () => {
  const freeze = ['--freeze', 'embedding', '--freeze', '*.router', '--freeze', 'layers.1.moe.experts']
  const args = ['--data', workspace.file('verses.txt'), '--set', 'train.optimizer.kind=adafactor', ...freeze]
  const { stderr } = await expectSuccess(from('frozen', '--steps', '10', ...args))
  expect(stderr).toContain('5 of 17 tensors')
  const run = workspace.file('frozen')
  const before = tensorsOf(file(source, 'step-00000060', 'model.safetensors'))
  const state = [...tensorsOf(file(run, 'step-00000010', 'optimizer.safetensors')).keys()]
  for (const [name, { data }] of tensorsOf(file(run, 'step-00000010', 'model.safetensors'))) {
    const isFrozen = /^embedding$|\.router$|^layers\.1\.moe\.experts/.test(name)
    if (isFrozen) expect(data, name).toEqual(before.get(name)?.data)
    else expect(data, name).not.toEqual(before.get(name)?.data)
    expect(state.some((tensor) => tensor.startsWith(`${name}.exp_avg`))).toBe(!isFrozen)
  }
  await expectSuccess(workspace.start('train', '--resume', run, '--steps', '12'))
  const other = await workspace.choir('train', '--resume', run, '--freeze', 'head')
  expect(other).toMatchObject({ code: 2, stderr: expect.stringContaining('train.freeze: ["embedding"') })
  const misspelt = await from('misspelt', '--freeze', 'embeding').ended
  expect(misspelt).toMatchObject({ code: 2, stderr: expect.stringContaining('did you mean "embedding"?') })
}, 60_000)

test('a run whose text moved resumes, bit for bit; another text is refused, and --from is offered', async () => {
  const texts = workspace.file('texts')
  mkdirSync(texts)
  for (const seed of [1, 2]) writeFileSync(join(texts, `${seed}.txt`), prose(seed, 20_000))
  const config = workspace.config({ data: { source: 'texts' }, train: { steps: 20, checkpointEvery: 10 } })
  const whole = workspace.file('text')
  await expectSuccess(workspace.start('train', config, '--out', whole))
  const moved = withoutLastCheckpoint(whole)
  renameSync(texts, workspace.file('elsewhere'))

  const lost = await workspace.choir('train', '--resume', moved)
  expect(lost).toMatchObject({ code: 2, stderr: expect.stringContaining('resume with its path now: --data') })
  const before = readFileSync(join(moved, 'config.json'), 'utf8')
  const other = await workspace.choir('train', '--resume', moved, '--data', 'verses.txt')
  expect(other).toMatchObject({ code: 2, stderr: expect.stringContaining('choir train --from') })
  expect(readFileSync(join(moved, 'config.json'), 'utf8')).toBe(before)

  await expectSuccess(workspace.start('train', '--resume', moved, '--data', 'elsewhere'))
  expect(results(moved)).toEqual(results(whole))
  expect(stored(moved).changes).toMatchObject([{ field: 'data.source', from: 'texts', to: 'elsewhere' }])
}, 60_000)

const [family] = launchers.keys()
test.skipIf(family === undefined)(
  'two ranks that share the experts begin with the same weights as one process, and end with the same bits',
  async () => {
    const shards = ['--set', 'parallel.shards=2', '--freeze', 'embedding', '--freeze', 'layers.0.moe.experts.*']
    const args = ['train', '--from', source, '--steps', '6', '--set', 'train.evalEvery=3', ...shards]
    const [alone, two] = [workspace.file('alone'), workspace.file('two')]
    await expectSuccess(workspace.start(...args, '--out', alone))
    const sharing = [...args, '--set', 'parallel.expert=2', '--threads', '1', '--deadline', '60']
    await expectSuccess(workspace.startRanks(family as Family, 2, ...sharing, '--out', two))
    const outcome = (run: string) => {
      const { census } = JSON.parse(readFileSync(file(run, 'step-00000006', 'state.json'), 'utf8'))
      return { metrics: metricsWithoutTimes(run), census: Object.fromEntries(Object.entries(census).sort()) }
    }
    expect(outcome(two)).toEqual(outcome(alone))
  },
  180_000,
)

test('a model that was imported is trained further', async () => {
  writeFolder(workspace.file('foreign'), samples.olmoe as Fields)
  await expectSuccess(workspace.start('import', 'foreign', '--out', 'imported'))
  const args = ['--data', 'verses.txt', '--steps', '40', '--set', 'train.evalEvery=5', '--set', 'train.evalBatches=4']
  await expectSuccess(
    workspace.start('train', '--from', 'imported', ...args, '--freeze', '*.router', '--out', 'further'),
  )
  const losses = evalRecords(workspace.file('further')).map(({ loss }) => loss)
  expect(losses.at(-1)).toBeLessThan((losses[0] as number) - 0.2)
  expect(stored(workspace.file('further')).from).toMatchObject({ run: workspace.file('imported'), step: 0 })
}, 60_000)

test('the refusal of a change in mid-run offers --from, if the weights fit', async () => {
  const batch = await workspace.choir('train', '--resume', source, '--set', 'train.batch=8')
  expect(batch).toMatchObject({ code: 2, stderr: expect.stringContaining(`choir train --from ${source}`) })
  const width = await workspace.choir('train', '--resume', source, '--set', 'model.width=64')
  expect(width.code).toBe(2)
  expect(width.stderr).not.toContain('--from')
})
