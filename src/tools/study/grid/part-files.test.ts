/** Files of the user's own parts beside a specification, and their copies in the folder of a study. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { keepParts } from './part-files.ts'
import { readSpecification, type SpecificationInput, specificationSchema } from './specification.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-parts-'))
  for (const name of ['a', 'b', 'out']) await mkdir(join(folder, name))
})
afterEach(() => rm(folder, { recursive: true, force: true }))
const file = (...names: string[]) => join(folder, ...names)

test('a path is that of the file beside the specification, dotted, grouped or in a list; other paths stay', async () => {
  await writeFile(file('a', 'mine.ts'), 'mine')
  const study = {
    base: './mine.ts',
    set: { 'model.moe.router': './mine.ts', 'data.source': './mine.ts' },
    arms: { one: { model: { moe: { balance: { form: 'mine.ts' } } } }, two: { 'model.layer.kind': './gone.ts' } },
    grid: { 'train.optimizer.kind': ['adamw', './mine.ts'] },
  }
  await writeFile(file('a', 'study.yaml'), stringify(study))
  const beside = file('a', 'mine.ts')
  expect(await readSpecification(file('a', 'study.yaml'))).toMatchObject({
    base: './mine.ts',
    set: { 'model.moe.router': beside, 'data.source': './mine.ts' },
    arms: { one: { model: { moe: { balance: { form: beside } } } }, two: { 'model.layer.kind': './gone.ts' } },
    grid: { 'train.optimizer.kind': ['adamw', beside] },
  })
})

test('a study keeps copies of its parts, two of one name apart, and its study.yaml names them wherever the folder is', async () => {
  for (const name of ['a', 'b']) await writeFile(file(name, 'router.ts'), `the router of ${name}`)
  const input: SpecificationInput = {
    arms: {
      a: { 'model.moe.router': file('a', 'router.ts') },
      again: { 'model.moe.router': file('a', 'router.ts'), 'model.moe.k': 2 },
      b: { 'model.moe.router': file('b', 'router.ts') },
      gone: { 'model.moe.router': file('gone.ts') },
    },
  }
  const kept = await keepParts(specificationSchema.parse(input), file('out'))
  expect(kept.arms).toEqual({
    a: { 'model.moe.router': 'parts/router.ts' },
    again: { 'model.moe.router': 'parts/router.ts', 'model.moe.k': 2 },
    b: { 'model.moe.router': 'parts/2/router.ts' },
    gone: { 'model.moe.router': file('gone.ts') },
  })
  await writeFile(file('out', 'study.yaml'), stringify(kept))
  const { arms } = await readSpecification(file('out', 'study.yaml'))
  const textOf = (arm: string) => readFile(String(arms[arm]?.['model.moe.router']), 'utf8')
  expect(await Promise.all(['a', 'again', 'b'].map(textOf))).toEqual([
    'the router of a',
    'the router of a',
    'the router of b',
  ])
})
