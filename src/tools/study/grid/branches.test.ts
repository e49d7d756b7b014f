/** Branches of a grid: their configurations, keys and cost, and which branches are refused. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { loadConfig } from '../../../node/run/load-config.ts'
import { learningRate } from '../../../train/step/optimizer/schedule.ts'
import type { Cell } from '../contract.ts'
import { type SpecificationInput, specificationSchema } from '../specification.ts'
import { branchProblem, chainOf, firstStepOf, isShort, stepsOf, trialOf } from './cells.ts'
import { expand } from './grid.ts'
import { keyOf } from './keys.ts'

const schedule = { kind: 'wsd', warmup: 4, learningRate: 0.003, decay: 0.25 }
const set = { 'train.steps': 80, 'train.schedule': schedule }
const branches = [0.125, 0.25, 0.5, 1]
const grid = async (input: SpecificationInput = {}) =>
  expand(specificationSchema.parse({ base: 'tiny', arms: { a: {}, b: { 'model.moe.k': 2 } }, set, branches, ...input }))
const stepsTrained = (cells: readonly Cell[]) => cells.reduce((sum, cell) => sum + stepsOf(cell) - firstStepOf(cell), 0)

test('an arm has a run for every share of its steps, and each run continues the next shorter one', async () => {
  const { cells } = await grid({ seeds: [1, 2] })
  const names = cells.map(({ arm, seed, config, branch }) => [arm, seed, config.train.steps, branch?.share])
  const chain = (arm: string, seed: number) => branches.map((share) => [arm, seed, 80 * share, share])
  expect(names).toEqual([...chain('a', 1), ...chain('b', 1), ...chain('a', 2), ...chain('b', 2)])
  for (const [i, { branch }] of cells.entries()) expect(branch?.after ?? null).toBe(i % 4 === 0 ? null : cells[i - 1])
  // A whole run has the same key as in a study without branches.
  const { branches: _, ...rest } = specificationSchema.parse({ base: 'tiny', arms: { a: {} }, set, seeds: [1] })
  expect((await expand(rest)).cells[0]?.key).toBe(cells[3]?.key)
})

test('a branch has the key of a run with as many steps; nothing else that decides its result differs', async () => {
  const { cells } = await grid({ seeds: [3] })
  for (const { key, config, arm } of cells) {
    const { steps } = config.train
    const sets = [
      `train.steps=${steps}`,
      `train.schedule=${JSON.stringify(schedule)}`,
      'train.seed=3',
      'data.order=3',
      ...(arm === 'b' ? ['model.moe.k=2'] : []),
    ]
    expect(key).toBe(keyOf(await loadConfig('tiny', sets)))
  }
  // A continued run keeps its records of routing, so all runs record at one interval.
  expect(new Set(cells.map(({ config }) => config.train.routingEvery)).size).toBe(1)
  expect(cells.some(isShort)).toBe(false)
})

test('every step of the trunk is trained once: the cost is 1 + decay · (sum of the shorter shares)', async () => {
  const { cells } = await grid({ seeds: [1] })
  // 80 + 0.25 · (10 + 20 + 40), but 2.5 steps are 2 or 3: the decay of 10 steps begins after step 8, round(7.5).
  expect(stepsTrained(cells.filter(({ arm }) => arm === 'a'))).toBe(80 + 2 + 5 + 10)
  const config = await loadConfig('tiny', ['train.schedule.kind=wsd', 'train.schedule.warmup=5', 'train.steps=8000'])
  expect(stepsTrained(chainOf('a', 1, 'common', config, branches)) / 8000).toBeCloseTo(1.175, 12)
})

test('up to the step where it starts, a run has the learning rates of the run that it continues', async () => {
  const base = await loadConfig('tiny', ['train.schedule.kind=wsd', 'train.schedule.warmup=5'])
  const shares = fc.uniqueArray(fc.double({ min: 0.05, max: 0.95, noNaN: true }), { maxLength: 5 })
  fc.assert(
    fc.property(
      shares,
      fc.integer({ min: 20, max: 400 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (some, steps, decay) => {
        const train = { ...base.train, steps, schedule: { ...base.train.schedule, decay } }
        const all = [...some.toSorted((a, b) => a - b), 1]
        const config = { ...base, train }
        if (branchProblem(config, all) !== null) return
        for (const cell of chainOf('a', 1, 'common', config, all)) {
          const before = cell.branch?.after?.config.train
          expect(firstStepOf(cell)).toBeLessThanOrEqual(stepsOf(cell))
          for (let step = 1; step <= firstStepOf(cell); step++)
            expect(learningRate(train.schedule, step, stepsOf(cell))).toBe(
              learningRate(train.schedule, step, before?.steps ?? Number.NaN),
            )
        }
      },
    ),
  )
})

test('trials of learning rates keep the share of the decay, and have no branches', async () => {
  const { sweeps } = await grid({ tune: {} })
  expect(sweeps.map(({ arm, steps }) => [arm, steps])).toEqual([
    ['a', 40],
    ['b', 40],
  ])
  const config = sweeps[0]?.config
  if (!config) throw new Error('no sweep')
  const trial = trialOf('a', 0, config, 40)
  expect(trial.config.train.schedule).toEqual({ ...config.train.schedule, warmup: 2 })
  expect(trial.branch).toBeUndefined()
})

test.each<[string, SpecificationInput, RegExp]>([
  [
    'another schedule in one arm',
    { arms: { a: {}, b: { 'train.schedule.kind': 'constant', 'train.schedule.decay': 0.2 } } },
    /^invalid study:\n {2}arm "b": invalid train\.schedule\.kind: "constant"/,
  ],
  [
    'a balancing loss whose coefficient changes over all steps',
    { arms: { a: {}, b: { 'train.schedule.finalBalance': 0 } } },
    /^invalid study:\n {2}arm "b": invalid train\.schedule\.finalBalance: 0 \(must be 1 with branches/,
  ],
  [
    'too few steps',
    { branches: [0.001, 1] },
    /invalid branches: 0\.001 \(of train\.steps 80 it has 0, and needs one\)/,
  ],
  [
    'equal steps',
    { branches: [0.25, 0.251, 1] },
    /0\.251 \(of train\.steps 80 it has 20, as many as the share before\)/,
  ],
  [
    'a decay within the warm-up',
    { branches: [0.05, 1] },
    /0\.05 \(of train\.steps 80 it has 4, of which the learning rate decays after step 3: expected a step from 4, the end of the warm-up, to 3;/,
  ],
  [
    'no decay',
    { set: { 'train.steps': 80, 'train.schedule': { ...schedule, decay: 0 } } },
    /0\.125 .*decays after step 10: expected a step from 4/,
  ],
  [
    'no trunk',
    { set: { 'train.steps': 80, 'train.schedule': { ...schedule, decay: 1, warmup: 0 } } },
    /decays after step 0: expected a step from 1/,
  ],
])('branches with %s are refused with the arm, the field and the accepted values', async (_, input, message) => {
  await expect(grid(input)).rejects.toThrow(message)
})

test.each([
  [[0.5, 0.5, 1], 'must rise'],
  [[0.25, 0.5], 'must end with 1'],
  [[1], 'at least two shares'],
  [[0.5, 2], ''],
])('shares %j are refused', (shares, message) => {
  const parsed = specificationSchema.safeParse({ base: 'tiny', branches: shares })
  expect(parsed.error?.issues.map((issue) => issue.message).join()).toContain(message)
  expect(parsed.success).toBe(false)
})
