/** A study writes neither into a run nor over another study, and an extended study goes on. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runSchema } from '../../../core/config/run-config.ts'
import { estimateStudy } from '../estimate/estimate.ts'
import { study } from '../shown/study.ts'
import type { SpecificationInput } from '../specification.ts'
import { FakeStudy, recorder, runWithLoss } from '../testing/fake-study.ts'
import { runStudy } from './run-study.ts'
import { checkStudy } from './study-folder.ts'

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
  await expect(start({ ...first, set: { 'data.source': source } }, 'm6t, quick')).rejects.toThrow(
    'none of which this study can use',
  )
})

test('a study that shares a run goes on under any name, and one of the same name with other runs is refused', async () => {
  await start(first, 'first.yaml')
  await start({ ...first, seeds: [2, 3] }, 'renamed.yaml')
  await start({ arms: { renamed: { 'model.moe.k': 2 }, ...other.arms }, seeds: [1] }, 'renamed.yaml')
  const unlike = { arms: { e: { 'train.steps': 7 } }, seeds: [1] }
  await expect(start(unlike, 'moved/renamed.yaml')).rejects.toThrow('has results of the study renamed.yaml, none')
})

test('a study goes on with nothing but trials, also in an estimate and a check', async () => {
  const controller = new AbortController()
  const { jobs, run } = recorder((job) => {
    controller.abort()
    return runWithLoss(job)
  })
  const specification = fake.specification({ ...first, tune: { steps: 4 } })
  await runStudy(specification, fake.options({ jobs: 1, signal: controller.signal }), run)
  expect(jobs).toHaveLength(1)
  await checkStudy(specification, fake.file('out'))
  // The fake measures nothing, so its estimate ends after the checks of the folder.
  const estimate = estimateStudy(specification, { ...fake.options(), dryRun: true }, recorder().run)
  expect(String(await estimate.catch((error: unknown) => error))).not.toContain('none of which')
})

test('a study whose only part of its own changed goes on, and trains again', async () => {
  const router = fake.file('mine.js')
  const source = (comment: string) => `// ${comment}
    import { add, constant, zeros } from 'choir/graph'
    export default {
      choose({ x_TD }) {
        const shape = [x_TD.shape[0], 1]
        return { expert_TK: zeros(shape, constant(0, 'int32')), gate_TK: add(zeros(shape, x_TD), 1) }
      },
    }`
  const input: SpecificationInput = { arms: { mine: { 'model.moe.router': router } }, seeds: [1] }
  await writeFile(router, source('one'))
  await start(input, 'first.yaml')
  await writeFile(router, source('two'))
  await start(input, 'first.yaml')
  expect(fake.of('note').map(({ message }) => message)).toContainEqual(expect.stringContaining('router mine changed'))
})

test('a study refuses a file and the folder of a run, and that of a program with another config.json is no run', async () => {
  await expect(
    runStudy(fake.specification(first), fake.options({ directory: fake.file('text.txt') }), recorder().run),
  ).rejects.toThrow(/is a file \(expected a folder\)/)
  await mkdir(fake.file('out'))
  const config = join(fake.file('out'), 'config.json')
  await writeFile(config, JSON.stringify({ version: '0.1.0', ...runSchema.parse({}) }))
  await expect(start(first, 'first.yaml')).rejects.toThrow('is a run (expected a new folder, or that of the study)')
  await writeFile(config, '{"model_type":"mixtral"}')
  await start(first, 'first.yaml')
})
