/**
 * A layer of the user's own in a file, from training to the report of a study.
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

/** A dense network with GELU, written by a user who knows only `choir/graph`. */
const dense = `import { gelu, matmul } from 'choir/graph'
import type { OwnLayer } from 'choir'
const layer: Omit<OwnLayer, 'name'> = {
  settings: { wider: 1 },
  parameters: ({ width, hidden, settings }) => {
    if (!(Number(settings.wider) > 0)) throw new Error('wider must be positive')
    const size = hidden * Number(settings.wider)
    return { up: { shape: [width, size], init: 'normal' }, down: { shape: [size, width], init: 'branch' } }
  },
  apply: ({ x_TD, weights }) => matmul(gelu(matmul(x_TD, weights.up!)), weights.down!),
}
export default layer
`
const example = readFileSync(new URL('../../examples/layers/soft-moe.ts', import.meta.url), 'utf8')
const train = { steps: 12, evalEvery: 6, checkpointEvery: 6, routingEvery: 1 }
const model = { moe: null, hidden: 64 }

beforeAll(() => {
  vi.stubEnv('XDG_CACHE_HOME', workspace().file('home'))
  writeFileSync(workspace().file('mine.ts'), dense)
  writeFileSync(workspace().file('soft.ts'), example)
})
afterAll(() => vi.unstubAllEnvs())

const settings = ['--set', 'model.layer.settings.block=8', '--set', 'model.layer.settings.experts=2']

async function trained(out: string, layer: string, ...more: string[]): Promise<string> {
  const config = workspace().config({ train, model })
  await expectSuccess(workspace().start('train', config, '--out', out, '--set', `model.layer.kind=${layer}`, ...more))
  return workspace().file(out)
}

const refused = async (...args: string[]) => {
  const found = await workspace().choir(...args)
  expect(found).toMatchObject({ code: 2, stdout: '' })
  return found.stderr
}

test('a run is continued bit for bit and evaluated without its file, and its loss falls', async () => {
  const whole = await trained('whole', './soft.ts', ...settings, '--set', 'train.freeze=[layers.0.own.phi]')
  expect(readFileSync(join(whole, 'layer.ts'), 'utf8')).toBe(example)
  const losses = trainRecords(whole).map(({ loss }) => loss)
  expect(losses.at(-1)).toBeLessThan(losses[0] ?? 0)
  const copy = withoutLastCheckpoint(whole)
  await expectSuccess(workspace().start('train', '--resume', copy))
  expect(outcome(copy)).toEqual(outcome(whole))
  const { stdout } = await expectSuccess(workspace().start('eval', whole, '--json'))
  expect(stdout).toContain('depends on later tokens of its own text (model.layer.own=soft@')
  expect(await refused('generate', whole, '--prompt', 'the people')).toMatch(/its layer soft@.* uses later tokens/)
  vi.stubEnv('XDG_CACHE_HOME', workspace().file('stranger'))
  const stranger = await refused('eval', whole)
  vi.stubEnv('XDG_CACHE_HOME', workspace().file('home'))
  expect(stranger).toMatch(/has the layer soft@[0-9a-f]{16}.*choir check FILE/s)
})

test('a layer that sees its token writes text, and what no format holds is refused by name', async () => {
  const run = await trained('mine', './mine.ts')
  const { stdout } = await expectSuccess(workspace().start('generate', run, '--prompt', 'the people', '--tokens', '8'))
  expect(stdout.length).toBeGreaterThan(10)
  expect(await refused('generate', run, '--prompt', 'a', '--weights', 'int8')).toMatch(/not for the layer mine@/)
  for (const format of ['hf', 'onnx', 'gguf'])
    expect(await refused('export', run, '--format', format, '--out', 'export')).toMatch(/with the layer mine@/)
  const config = workspace().config({ model })
  const kind = ['--set', 'model.layer.kind=./mine.ts']
  expect(await refused('plan', config, '--cluster', 'h100-8', ...kind)).toMatch(/layer of your own cannot be planned/)
  expect(await refused('worth', config, '--cluster', 'h100-8', ...kind)).toMatch(/layer of your own cannot be planned/)
  expect(await refused('inspect', config, ...kind, '--set', 'model.layer.settings.wider=-1')).toMatch(
    /^choir: invalid model\.layer\.settings: \{"wider":-1\} \(layer mine: parameters: line 6 of mine\.ts: wider must be positive\)/,
  )
  const inspected = await expectSuccess(workspace().start('inspect', config, ...kind, '--json'))
  expect(inspected.stdout).toContain('layers.0.own.down')
})

// What ranks exchange is the same with any layer, so one of the MPI libraries is enough.
const [family] = launchers.keys()
test.skipIf(family === undefined)('two ranks have the results of one process', async () => {
  const config = workspace().config({ train: { ...train, batch: 4 }, model, parallel: { shards: 2 } })
  const runOf = async (ranks: number) => {
    const out = workspace().file(`ranks-${ranks}`)
    const args = ['train', config, '--out', out, '--set', 'model.layer.kind=./soft.ts', ...settings]
    await expectSuccess(
      ranks === 1 ? workspace().start(...args) : workspace().startRanks(family as Family, ranks, ...args),
    )
    return trainRecords(out).map(({ loss }) => loss)
  }
  expect(await runOf(2)).toEqual(await runOf(1))
})

test('a study compares it with arms of the same operations, and settings make arms', async () => {
  const layer = { 'model.moe': null, 'model.layer.kind': './mine.ts' }
  const arms = {
    'top-1': { 'model.moe.router': 'top-k', 'model.moe.hidden': 64 },
    mine: { ...layer, match: { equal: 'activeFlops', of: 'top-1' } },
    wide: {
      ...{ ...layer, 'model.hidden': 8 },
      match: { equal: 'activeFlops', of: 'top-1', by: 'model.layer.settings.wider' },
    },
  }
  const file = studyFile('study', { arms, seeds: [1], set: { 'model.moe.prototypes': 1 } })
  expect(await study(file, 'study')).toMatchObject({ code: 0 })
  const records = resultsIn('study').records.map(({ config }) => config.model)
  expect(records.map(({ layer, hidden }) => [layer?.settings.wider ?? null, hidden]).sort()).toHaveLength(3)
  const wide = records.find(({ layer }) => layer?.settings.wider !== undefined)
  const mine = records.find(({ layer }) => layer && layer.settings.wider === undefined)
  // Both arms have as many hidden columns, up to the step of 8 that the setting makes.
  expect(Math.abs(8 * Number(wide?.layer?.settings.wider) - (mine?.hidden ?? 0))).toBeLessThanOrEqual(4)
})
