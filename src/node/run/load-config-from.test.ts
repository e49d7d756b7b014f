import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { RunInput } from '../../core/config/run-config.ts'
import { temporaryFolder } from '../data/testing/temporary-folder.ts'
import { loadConfig } from './load-config.ts'
import { configOver, loadConfigFrom } from './load-config-from.ts'

const temporary = temporaryFolder()

/** A run of `tiny` with some settings. */
async function storedRun(...sets: string[]): Promise<string> {
  const run = join(temporary.make(), 'run')
  await mkdir(run)
  await writeFile(join(run, 'config.json'), JSON.stringify({ version: '0.1.0', ...(await loadConfig('tiny', sets)) }))
  return run
}

test('settings of model, data and train that are not given come from the run; parallel and runtime have defaults', async () => {
  const sets = ['model.moe.k=2', 'train.batch=8', 'data.seed=5']
  const run = await storedRun(...sets, 'parallel.shards=2', 'runtime.threads=3')
  expect(await loadConfigFrom(run, undefined, [])).toEqual(await loadConfig('tiny', sets))
  const file = join(run, 'more.yaml')
  await writeFile(file, 'model: { moe: { factor: 2 } }\ntrain: { steps: 9 }\n')
  expect(await loadConfigFrom(run, file, ['train.steps=7', 'runtime.threads=1'])).toEqual(
    await loadConfig('tiny', [...sets, 'model.moe.factor=2', 'train.steps=7', 'runtime.threads=1']),
  )
})

test('with another batch, micro-batches keep the size that they have in the run, or the next smaller one', async () => {
  const divided = await storedRun('train.batch=8', 'train.microBatches=4')
  const microBatches = async (...sets: string[]) => (await loadConfigFrom(divided, undefined, sets)).train.microBatches
  // 8 sequences in 4 micro-batches: 2 sequences each.
  expect(await microBatches()).toBe(4)
  expect(await microBatches('train.batch=16')).toBe(8)
  expect(await microBatches('train.batch=2')).toBe(1)
  expect(await microBatches('train.batch=1')).toBe(1)
  // An odd number is not divisible by 2, so its micro-batches have 1 sequence.
  expect(await microBatches('train.batch=5')).toBe(5)
  expect(await microBatches('train.batch=9')).toBe(9)
  // 2 sequences are one of each shard, which has 6.
  expect(await microBatches('train.batch=12', 'parallel.shards=2')).toBe(6)
  // A number that is given, also in a file, is the number.
  expect(await microBatches('train.batch=16', 'train.microBatches=2')).toBe(2)
  const file = join(divided, 'large.yaml')
  await writeFile(file, 'train: { batch: 32 }\n')
  expect((await loadConfigFrom(divided, file, [])).train.microBatches).toBe(16)
  expect((await loadConfigFrom(divided, file, ['train.microBatches=1'])).train.microBatches).toBe(1)
  await expect(microBatches('train.batch=6', 'train.microBatches=4')).rejects.toThrow('must divide train.batch 6')
  await expect(microBatches('train.batch=0')).rejects.toThrow(/^invalid train\.batch: 0 /)
  await expect(microBatches('train.batch=4', 'parallel.shards=3')).rejects.toThrow(/^invalid parallel\.shards: 3 /)

  const whole = await storedRun('train.batch=8')
  expect((await loadConfigFrom(whole, undefined, ['train.batch=64'])).train.microBatches).toBe(1)
})

test('problems are listed with their fields', async () => {
  const run = await storedRun()
  await expect(loadConfigFrom(run, undefined, ['train.stps=3'])).rejects.toThrow('did you mean "train.steps"?')
})

test('text in the directory of the run is found from another run', async () => {
  const run = await storedRun('data.source=[run:text/a.txt, b.txt]')
  expect((await loadConfigFrom(run, undefined, [])).data.source).toEqual([join(run, 'text', 'a.txt'), 'b.txt'])
})

test('another tokenizer is refused; the same tokenizer may be given again', async () => {
  const run = await storedRun('data.tokenizer.kind=bytes')
  const given = (tokenizer: NonNullable<RunInput['data']>['tokenizer']) => configOver(run, { data: { tokenizer } })
  expect((await given({ kind: 'bytes' })).data.tokenizer).toEqual({ kind: 'bytes' })
  await expect(given({ kind: 'bpe' })).rejects.toThrow('invalid data.tokenizer.kind: "bpe" (the tokenizer of')
  await expect(given({ kind: 'file', path: 'x' })).rejects.toThrow('leave out data.tokenizer')
})

test('a folder whose config.json comes from another program is not accepted as a run', async () => {
  const folder = temporary.make()
  await writeFile(join(folder, 'config.json'), '{ "model_type": "mixtral", "hidden_size": 4096 }')
  await expect(loadConfigFrom(folder, undefined, [])).rejects.toThrow('choir import FOLDER --out RUN')
})
