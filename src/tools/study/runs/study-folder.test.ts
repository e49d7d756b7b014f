/** A study writes neither into a run nor over another study, and an extended study goes on. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runSchema } from '../../../core/config/run-config.ts'
import { estimateStudy } from '../estimate/estimate.ts'
import type { SpecificationInput } from '../grid/specification.ts'
import { study } from '../study.ts'
import { FakeStudy, recorder } from '../testing/fake-study.ts'
import { runStudy } from './run-study.ts'

let fake: FakeStudy
beforeEach(async () => {
  fake = await FakeStudy.open()
})
afterEach(() => fake.close())

const first: SpecificationInput = { arms: { a: {}, b: { 'model.moe.k': 2 } }, seeds: [1, 2] }
const other: SpecificationInput = { arms: { c: { 'model.moe.k': 3 }, d: { 'model.moe.k': 4 } }, seeds: [1, 2] }

const start = (input: SpecificationInput, name: string) =>
  runStudy(fake.specification(input), fake.options({ name }), recorder().run)

test('a study refuses the folder of another one, before a run and in an estimate, and leaves its files', async () => {
  await study(fake.specification(first), fake.options({ name: 'first.yaml' }), recorder().run)
  const files = ['study.yaml', 'report.md', 'results.json.gz'].map((name) => fake.file('out', name))
  const read = () => Promise.all(files.map((file) => readFile(file, 'base64')))
  const before = await read()
  const refused = 'out" has results of the study first.yaml, none of which this study can use'
  const { run, jobs } = recorder()
  const specification = fake.specification(other)
  const options = fake.options({ name: 'other.yaml' })
  await expect(study(specification, options, run)).rejects.toThrow(refused)
  await expect(estimateStudy(specification, { ...options, dryRun: true }, run)).rejects.toThrow(refused)
  expect(jobs).toEqual([])
  expect(await read()).toEqual(before)
})

test('the same study on another text is another study', async () => {
  await start(first, 'm6t, quick')
  const source = fake.file('other.txt')
  await writeFile(source, 'Another text about dense models, long enough. '.repeat(2000))
  await expect(start({ ...first, set: { 'data.source': source } }, 'm6t, quick')).rejects.toThrow('on another text')
})

test('a study that shares a run goes on under another name, and one with new arms only under its own', async () => {
  await start(first, 'first.yaml')
  await start({ ...first, seeds: [2, 3] }, 'renamed.yaml')
  await start(other, 'moved/renamed.yaml')
})

test('a study refuses the folder of a run, and that of a program with another config.json is no run', async () => {
  await mkdir(fake.file('out'))
  const config = join(fake.file('out'), 'config.json')
  await writeFile(config, JSON.stringify({ version: '0.1.0', ...runSchema.parse({}) }))
  await expect(start(first, 'first.yaml')).rejects.toThrow('is a run (expected a new folder, or that of the study)')
  await writeFile(config, '{"model_type":"mixtral"}')
  await start(first, 'first.yaml')
})
