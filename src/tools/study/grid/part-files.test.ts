/** Files of the user's own parts beside a specification, and their copies in the folder of a study. */
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { stringify } from 'yaml'
import { loadConfig } from '../../../node/run/load-config.ts'
import { type SpecificationInput, specificationSchema } from '../specification.ts'
import { keepParts } from './part-files.ts'
import { readSpecification } from './read-specification.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-parts-'))
  for (const name of ['a', 'b', 'out']) await mkdir(join(folder, name))
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true, force: true })
})
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

test.each([
  ['base.yaml', './mine.ts', 'model:\n  moe: { router: ./mine.ts } # a comment\n'],
  ['base.json', 'routers/mine.ts', JSON.stringify({ model: { moe: { router: 'routers/mine.ts' } } })],
])(
  'a base %s is found beside the specification and copied with its part %s: the copy loads from any folder',
  async (base, part, text) => {
    vi.stubEnv('XDG_CACHE_HOME', file('cache'))
    await mkdir(file('a', 'routers'))
    const router = 'export default { choose: () => { throw new Error("never called") } }'
    await writeFile(file('a', part), router)
    await writeFile(file('a', base), text)
    await writeFile(file('a', 'study.yaml'), stringify({ base, arms: { one: {} } }))
    const found = await readSpecification(file('a', 'study.yaml'))
    expect(found.base).toBe(file('a', base))
    const { model } = await loadConfig(found.base, [])
    const kept = await keepParts(found, file('out'))
    expect(kept.base).toBe(join('parts', base))
    await writeFile(file('out', 'study.yaml'), stringify(kept))
    await rm(file('a'), { recursive: true })
    await rename(file('out'), file('elsewhere'))
    const again = await readSpecification(file('elsewhere', 'study.yaml'))
    expect(await readFile(file('elsewhere', 'parts', 'mine.ts'), 'utf8')).toBe(router)
    // A base whose text need not change keeps its comments.
    if (part === './mine.ts') expect(await readFile(again.base, 'utf8')).toBe(text)
    expect((await loadConfig(again.base, [])).model.moe).toEqual(model.moe)
    expect(model.moe).toMatchObject({ router: 'own', own: expect.stringMatching(/^mine@/) })
  },
)

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
