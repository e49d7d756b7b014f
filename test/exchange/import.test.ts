import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../src/data/testing/temporary-folder.ts'
import { importModel } from '../../src/exchange/import/import-model.ts'
import { samples } from '../../src/exchange/testing/samples.ts'
import { choirLogits, relativeDifference, writeFolder } from './folders.ts'

const temporary = temporaryFolder()

test.each(Object.entries(samples))('%s: logits are those of its published code', async (_, sample) => {
  const root = temporary.make()
  const { folder, logits, weights } = writeFolder(join(root, 'model'), sample)
  const run = join(root, 'run')
  const report = await importModel(folder, run)
  expect(relativeDifference(await choirLogits(run), logits)).toBeLessThan(1e-5)
  expect(report.tensors.map(({ name }) => name).sort()).toEqual(weights.names.sort())
  expect(report).toMatchObject({ ignoredKeys: [], ignoredTensors: [], made: [] })
  expect(JSON.parse(readFileSync(join(run, 'import.json'), 'utf8'))).toEqual(report)
  expect(readdirSync(root).sort()).toEqual(['model', 'run'])
})
