/**
 * A router of the user's own in a file, from training to the report of a study.
 *
 * @slow
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { Family } from '../../src/engine/world/mpi/library.ts'
import { launchers } from '../../src/engine/world/mpi/testing/launch.ts'
import { lines, studyRuns, timeouts } from './study-runs.ts'
import {
  type ExitResult,
  evalRecords,
  expectSuccess,
  results as outcome,
  trainRecords,
  withoutLastCheckpoint,
} from './support.ts'

vi.setConfig({ ...timeouts, hookTimeout: timeouts.testTimeout })
const { workspace, studyFile, study, resultsIn } = studyRuns()

/** Top-k, written by a user who knows only `choir/graph`. */
const topK = `import { matmul, reshape, softmax, topK, type Tensor } from 'choir/graph'
export default {
  parameters: ({ moe, width }: any) => ({ weight: { shape: [width, moe.experts], init: 'normal' } }),
  choose({ moe, x_TD, weights }: any) {
    const logits: Tensor = matmul(x_TD, weights.weight)
    const [gate_TK, expert_TK] = topK(softmax(logits), moe.k)
    const shape = [x_TD.shape[0], 1, moe.experts]
    return { expert_TK, gate_TK, logits_TZN: reshape(logits, shape), probability_TZN: reshape(softmax(logits), shape) }
  },
}
`
const example = readFileSync(new URL('../../examples/routers/previous-token.ts', import.meta.url), 'utf8')
const train = { steps: 12, evalEvery: 6, checkpointEvery: 6, routingEvery: 1 }
const moe = { prototypes: 1, k: 2, router: 'top-k' as const }

beforeAll(() => {
  vi.stubEnv('XDG_CACHE_HOME', workspace().file('home'))
  writeFileSync(workspace().file('mine.ts'), topK)
  writeFileSync(workspace().file('previous.ts'), example)
})
afterAll(() => vi.unstubAllEnvs())

const start = (out: string, router: string, ...more: string[]): Promise<ExitResult> => {
  const config = workspace().config({ train, model: { moe } })
  const args = ['train', config, '--out', out, '--set', `model.moe.router=${router}`, '--json']
  return expectSuccess(workspace().start(...args, ...more))
}
async function trained(out: string, router: string): Promise<string> {
  await start(out, router)
  return workspace().file(out)
}

/** Number of steps that a training did before each warning that its router sees later tokens. */
const stepsBefore = (router: string, ended: ExitResult): number[] => {
  const all = lines(ended)
  return all.flatMap(({ kind, message }, i) => {
    const isFound = kind === 'warning' && String(message).startsWith(`the router ${router}@`)
    return isFound ? [all.slice(0, i).filter((line) => line.kind === 'train').length] : []
  })
}
const gainsOf = (run: string) => evalRecords(run).map(({ later_tokens_gain: gain }) => gain)

test('a copy of top-k has the losses of the built-in one, within rounding', async () => {
  const [mine, builtIn] = [await trained('mine', './mine.ts'), await trained('built-in', 'top-k')]
  const [of, expected] = [trainRecords(mine), trainRecords(builtIn)]
  expect(of).toHaveLength(12)
  for (const [i, { loss }] of of.entries()) expect(loss).toBeCloseTo(expected[i]?.loss ?? Number.NaN, 4)
  expect(readFileSync(join(mine, 'router.ts'), 'utf8')).toBe(topK)
})

test('a run is continued bit for bit, evaluated and written with, without its file; it sees no later tokens', async () => {
  const whole = workspace().file('whole')
  const ended = await start('whole', './previous.ts', '--set', 'train.freeze=[layers.0.moe.router]')
  expect(stepsBefore('previous', ended)).toEqual([])
  expect(gainsOf(whole)).toEqual([undefined, undefined])
  const copy = withoutLastCheckpoint(whole)
  await expectSuccess(workspace().start('train', '--resume', copy))
  expect(outcome(copy)).toEqual(outcome(whole))
  await expectSuccess(workspace().start('eval', whole, '--json'))
  const { stdout } = await expectSuccess(
    workspace().start('generate', whole, '--prompt', 'the people', '--tokens', '8'),
  )
  expect(stdout.length).toBeGreaterThan(10)
  vi.stubEnv('XDG_CACHE_HOME', workspace().file('stranger'))
  const refused = await workspace().choir('eval', whole)
  vi.stubEnv('XDG_CACHE_HOME', workspace().file('home'))
  expect(refused).toMatchObject({ code: 2, stdout: '' })
  expect(refused.stderr).toMatch(/has the router previous@[0-9a-f]{16}.*choir check FILE/s)
})

test('a router that sees later tokens and denies it is found before the first step, or as soon as it does; the gain is recorded', async () => {
  const later = topK
    .replace('topK, type', 'topK, concat, slice, type')
    .replace('matmul(x_TD, weights.weight)', 'matmul(moved(x_TD), weights.weight)')
  const moved = 'const moved = (x: Tensor) => concat([slice(x, 0, 1, x.shape[0]), slice(x, 0, 0, 1)], 0)\n'
  writeFileSync(workspace().file('later.ts'), `${later}${moved}`)
  // Its weights of the next token are zero at first.
  const slowly = topK
    .replace('topK, type', 'topK, add, concat, slice, type')
    .replace("init: 'normal' }", "init: 'normal' }, ahead: { shape: [width, moe.experts], init: 'zeros' }")
    .replace('matmul(x_TD, weights.weight)', 'add(matmul(x_TD, weights.weight), matmul(moved(x_TD), weights.ahead))')
  writeFileSync(workspace().file('slowly.ts'), `${slowly}${moved}`)
  expect(stepsBefore('later', await start('later', './later.ts'))).toEqual([0])
  expect(stepsBefore('slowly', await start('slowly', './slowly.ts'))).toEqual([6])
  for (const router of ['later', 'slowly']) {
    const [first, ...others] = gainsOf(workspace().file(router))
    expect(Math.abs(first ?? 0)).toBeGreaterThan(0)
    expect(others).toEqual([undefined])
  }
})

test('a mistake of a router is reported with its line before the text is read, and leaves no run', async () => {
  const wrong = topK.replace('moe.k)', 'moe.kk.k)')
  writeFileSync(workspace().file('wrong.ts'), wrong)
  const config = workspace().config({ train, model: { moe }, data: { source: workspace().file('no-such-text.txt') } })
  const found = await workspace().choir('train', config, '--out', 'wrong', '--set', 'model.moe.router=./wrong.ts')
  expect(found).toMatchObject({ code: 2, stdout: '' })
  expect(found.stderr).toMatch(/router wrong: choose: line 6 of wrong\.ts: Cannot read properties of undefined/)
  expect(existsSync(workspace().file('wrong'))).toBe(false)
})

// What ranks exchange is the same with any router, so one of the MPI libraries is enough.
const [family] = launchers.keys()
test.skipIf(family === undefined)('two ranks have the results of one process', async () => {
  const config = workspace().config({ train: { ...train, batch: 4 }, model: { moe }, parallel: { shards: 2 } })
  const runOf = async (ranks: number) => {
    const out = workspace().file(`ranks-${ranks}`)
    const args = ['train', config, '--out', out, '--set', 'model.moe.router=./previous.ts']
    await expectSuccess(
      ranks === 1 ? workspace().start(...args) : workspace().startRanks(family as Family, ranks, ...args),
    )
    return trainRecords(out).map(({ loss }) => loss)
  }
  expect(await runOf(2)).toEqual(await runOf(1))
})

test('a study compares it, and a changed router is another arm', async () => {
  const arms = { 'top-k': {}, mine: { 'model.moe.router': './mine.ts' } }
  const set = { 'model.moe.prototypes': 1, 'model.moe.router': 'top-k' }
  const file = studyFile('study', { arms, seeds: [1], set })
  expect(await study(file, 'study')).toMatchObject({ code: 0 })
  const keys = () =>
    resultsIn('study')
      .records.map(({ key }) => key)
      .sort()
  const first = keys()
  expect(first).toHaveLength(2)
  expect(readFileSync(workspace().file('study', 'report.md'), 'utf8')).toContain('mine')
  writeFileSync(workspace().file('mine.ts'), `${topK}// Changed.\n`)
  expect(await study(file, 'study')).toMatchObject({ code: 0 })
  expect(keys().filter((key) => !first.includes(key))).toHaveLength(1)
})
