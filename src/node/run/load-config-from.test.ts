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
