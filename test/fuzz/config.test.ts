/** @slow */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseInput } from '../../src/core/config/problems.ts'
import { runSchema } from '../../src/core/config/run-config.ts'
import { describeModel } from '../../src/core/model/describe.ts'
import { loadConfig } from '../../src/node/run/load-config.ts'
import { fuzzTimeout, runs } from '../support/soak.ts'
import { anyConfig, anyYaml } from './configurations.ts'
import { faultOf, outcomeOf } from './outcome.ts'
import { anyText } from './values.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-fuzz-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test(
  'any object as configuration is refused with a message, or describes a model',
  async () => {
    await fc.assert(
      fc.asyncProperty(anyConfig, async (input) => {
        const work = () => describeModel(parseInput(runSchema, input, 'configuration').model)
        expect(faultOf(await outcomeOf(work))).toBeNull()
      }),
      runs(300),
    )
  },
  fuzzTimeout,
)

test(
  'any text as configuration file is refused with a message, or is a configuration',
  async () => {
    const file = join(folder, 'wild.yaml')
    await fc.assert(
      fc.asyncProperty(anyYaml, async (text) => {
        await writeFile(file, text)
        expect(faultOf(await outcomeOf(() => loadConfig(file, [])))).toBeNull()
      }),
      runs(300),
    )
  },
  fuzzTimeout,
)

test(
  'any assignments are refused with a message, or give a configuration',
  async () => {
    const names = fc.constantFrom(
      'train.steps',
      'model',
      'model.moe',
      'data.source',
      'train.freeze',
      '',
      'a.b.c',
      'preset',
    )
    const set = fc
      .tuple(fc.oneof(names, anyText), fc.oneof(anyText, anyYaml))
      .map(([path, value]) => `${path}=${value}`)
    await fc.assert(
      fc.asyncProperty(fc.array(set, { minLength: 1, maxLength: 3 }), async (sets) => {
        expect(faultOf(await outcomeOf(() => loadConfig('tiny', sets)))).toBeNull()
      }),
      runs(300),
    )
  },
  fuzzTimeout,
)
