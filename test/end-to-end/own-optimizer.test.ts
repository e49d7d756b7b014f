/**
 * An optimizer of the user's own in a file, from training to the report of a study.
 *
 * @slow
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { Family } from '../../src/engine/world/mpi/library.ts'
import { launchers } from '../../src/engine/world/mpi/testing/launch.ts'
import { studyRuns, timeouts } from './study-runs.ts'
import { expectSuccess, results as outcome, trainRecords, withoutLastCheckpoint } from './support.ts'

vi.setConfig({ ...timeouts, hookTimeout: timeouts.testTimeout })
const { workspace, studyFile, study, resultsIn } = studyRuns()

const example = (name: string) => readFileSync(new URL(`../../examples/optimizers/${name}.ts`, import.meta.url), 'utf8')
const train = { steps: 12, evalEvery: 6, checkpointEvery: 6, routingEvery: 1 }

beforeAll(() => {
  vi.stubEnv('XDG_CACHE_HOME', workspace().file('home'))
  for (const name of ['lion', 'muon']) writeFileSync(workspace().file(`${name}.ts`), example(name))
})
afterAll(() => vi.unstubAllEnvs())

async function trained(out: string, optimizer: string, ...more: string[]): Promise<string> {
  const config = workspace().config({ train })
  await expectSuccess(
    workspace().start('train', config, '--out', out, '--set', `train.optimizer.kind=${optimizer}`, ...more),
  )
  return workspace().file(out)
}

test.each(['lion', 'muon'])(
  'a run with %s is continued bit for bit, with its state, without its file',
  async (name) => {
    const whole = await trained(`whole-${name}`, `./${name}.ts`, '--set', 'train.microBatches=2')
    expect(trainRecords(whole)).toHaveLength(12)
    expect(readFileSync(join(whole, 'optimizer.ts'), 'utf8')).toBe(example(name))
    const copy = withoutLastCheckpoint(whole)
    await expectSuccess(workspace().start('train', '--resume', copy))
    expect(outcome(copy)).toEqual(outcome(whole))
    if (name === 'lion') await expectSuccess(workspace().start('eval', whole, '--json'))
  },
)

test('a run of somebody else is refused until its optimizer has been checked', async () => {
  const run = workspace().file('whole-lion')
  vi.stubEnv('XDG_CACHE_HOME', workspace().file('stranger'))
  const refused = await workspace().choir('train', '--resume', run, '--set', 'train.steps=13')
  const checked = await workspace().choir('check', join(run, 'optimizer.ts'), '--json')
  vi.stubEnv('XDG_CACHE_HOME', workspace().file('home'))
  expect(refused).toMatchObject({ code: 2, stdout: '' })
  expect(refused.stderr).toMatch(/has the optimizer lion@[0-9a-f]{16}.*choir check FILE/s)
  expect(checked).toMatchObject({ code: 0 })
  expect(JSON.parse(checked.stdout)).toMatchObject({ kind: 'plugin_check', part: 'optimizer' })
})

test('a mistake is found before anything is written', async () => {
  writeFileSync(workspace().file('wrong.ts'), 'export default { update: ({ rate }) => ({ parameter: rate }) }')
  const config = workspace().config({ train })
  const wrong = await workspace().choir('train', config, '--out', 'wrong', '--set', 'train.optimizer.kind=./wrong.ts')
  expect(wrong).toMatchObject({ code: 2, stdout: '' })
  expect(wrong.stderr).toMatch(/optimizer wrong: update of embedding returned parameter as float32 \[\]/)
  expect(() => readFileSync(workspace().file('wrong', 'config.json'))).toThrow(/ENOENT/)
})

// What ranks exchange is the same with any optimizer, so one of the MPI libraries is enough.
const [family] = launchers.keys()
test.skipIf(family === undefined)('two ranks have the results of one process', async () => {
  const config = workspace().config({ train: { ...train, batch: 4 }, parallel: { shards: 2 } })
  const runOf = async (ranks: number) => {
    const out = workspace().file(`ranks-${ranks}`)
    const args = ['train', config, '--out', out, '--set', 'train.optimizer.kind=./muon.ts']
    await expectSuccess(
      ranks === 1 ? workspace().start(...args) : workspace().startRanks(family as Family, ranks, ...args),
    )
    return trainRecords(out).map(({ loss }) => loss)
  }
  expect(await runOf(2)).toEqual(await runOf(1))
})

test('arms of a study differ in the settings of an optimizer', async () => {
  const arms = {
    adamw: {},
    muon: { 'train.optimizer.kind': './muon.ts' },
    slower: { 'train.optimizer.kind': './muon.ts', 'train.optimizer.settings.momentum': 0.99 },
  }
  const file = studyFile('study', { arms, seeds: [1] })
  expect(await study(file, 'study')).toMatchObject({ code: 0 })
  const { records } = resultsIn('study')
  expect(records).toHaveLength(3)
  expect(new Set(records.map(({ key }) => key)).size).toBe(3)
  expect(readFileSync(workspace().file('study', 'report.md'), 'utf8')).toContain('slower')
})
