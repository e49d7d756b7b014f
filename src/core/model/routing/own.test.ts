/** Settings of a router of the user's own: what its functions get, and what a configuration may say. */
import { expect, test } from 'vitest'
import { parseInput } from '../../config/problems.ts'
import { runSchema } from '../../config/run-config.ts'
import { anyVocabulary } from '../../config/testing/any-vocabulary.ts'
import { add } from '../../graph/ops/elementwise.ts'
import { softmax } from '../../graph/ops/fused.ts'
import { gather } from '../../graph/ops/indexing.ts'
import { matmul } from '../../graph/ops/matmul.ts'
import { topK } from '../../graph/ops/order.ts'
import { reshape } from '../../graph/ops/shape.ts'
import { input, type Tensor } from '../../graph/tensor.ts'
import type { PluginSettings } from '../../plugins.ts'
import { modelSchema } from '../config.ts'
import { describeModel } from '../describe.ts'
import type { Choice, RouterInput } from './contract.ts'
import { type OwnRouter, ownRouters } from './own.ts'

/** One expert by its logits [T, N], and the distribution. */
function chosenBy(logits_TN: Tensor): Choice {
  const probability_TN = softmax(logits_TN)
  const [gate_TK, expert_TK] = topK(probability_TN, 1)
  const byPrototype = [logits_TN.shape[0] as number, 1, logits_TN.shape[1] as number]
  return {
    expert_TK,
    gate_TK,
    logits_TZN: reshape(logits_TN, byPrototype),
    probability_TZN: reshape(probability_TN, byPrototype),
  }
}

let seen: PluginSettings[] = []
let ids = 0
const router: OwnRouter = {
  name: 'ranked',
  settings: { rank: 2, bend: false },
  parameters({ width, settings }) {
    seen.push(settings)
    if (Number(settings.rank) < 1) throw new Error('rank must be positive')
    return { down: { shape: [width, Number(settings.rank)], init: 'normal' } }
  },
  // As many experts as the rank.
  choose: ({ x_TD, weights }) => chosenBy(matmul(x_TD, weights.down as Tensor)),
}
const own = `ranked@${'0'.repeat(16)}`
ownRouters.register(own, router)

const parsed = (moe: object) => parseInput(runSchema, { data: anyVocabulary, model: { moe } }, 'configuration')
const withSettings = (settings: object) => parsed({ router: 'own', own, settings })

test('its functions get the defaults, replaced by the settings of the configuration', () => {
  seen = []
  expect(withSettings({ rank: 5 }).model.moe?.settings).toEqual({ rank: 5 })
  expect(seen).toContainEqual({ rank: 5, bend: false })
  const size = { layers: 1, width: 8, heads: 1, vocabulary: 64 }
  const described = (rank: number) =>
    describeModel(modelSchema.parse({ ...size, moe: { router: 'own', own, settings: { rank }, experts: rank } }))
  const hashed = (experts: number) => describeModel(modelSchema.parse({ ...size, moe: { router: 'hash', experts } }))
  // The router has a matrix [D, rank], by which every token is multiplied.
  expect(described(5).parameters - hashed(5).parameters).toBe(8 * 5)
  expect(described(2).flopsPerToken - hashed(2).flopsPerToken).toBe(6 * 8 * 2)
})

test('a table whose rows it looks up is active, but takes no operations and does not compute', () => {
  const rows = 64
  const describedWith = (choose: OwnRouter['choose'], attention: 'none' | 'all' = 'none') => {
    const id = `table@${String(ids++).padStart(16, '0')}`
    const parameters: OwnRouter['parameters'] = ({ moe }) => ({
      weight: { shape: [rows, moe.experts], init: 'normal' },
    })
    ownRouters.register(id, { name: 'table', parameters, choose })
    const size = { layers: 2, width: rows, heads: 4, vocabulary: rows, sequence: 4 }
    const moe = { experts: 4, attention, groups: 8 }
    const hashed = describeModel(modelSchema.parse({ ...size, moe: { ...moe, router: 'hash' } }))
    return { own: describeModel(modelSchema.parse({ ...size, moe: { ...moe, router: 'own', own: id } })), hashed }
  }
  const lookUp = ({ tokens_T, weights }: RouterInput) => gather(weights.weight as Tensor, tokens_T)
  const multiplied = ({ x_TD, weights }: RouterInput) => matmul(x_TD, weights.weight as Tensor)
  for (const [attention, modules] of [
    ['none', 2],
    ['all', 6],
  ] as const) {
    const { own, hashed } = describedWith((given) => chosenBy(lookUp(given)), attention)
    expect(own.activeParameters - hashed.activeParameters).toBe(modules * rows * 4)
    expect(own.computingParameters).toBe(hashed.computingParameters)
    expect(own.flopsPerToken).toBe(hashed.flopsPerToken)
  }
  // Read in both ways, it is a matrix.
  const { own, hashed } = describedWith((given) => chosenBy(add(lookUp(given), multiplied(given))))
  expect(own.computingParameters - hashed.computingParameters).toBe(2 * rows * 4)
  expect(own.flopsPerToken - hashed.flopsPerToken).toBe(2 * 6 * rows * 4)
})

test.each<[string, () => unknown, RegExp]>([
  [
    'an unknown name',
    () => withSettings({ rnk: 5 }),
    /unknown field model\.moe\.settings\.rnk: 5 \(accepted: rank, bend; did you mean "rank"\?\)/,
  ],
  ['another type', () => withSettings({ rank: 'many' }), /settings\.rank: "many" \(expected a number, such as 2\)/],
  ['a value that its parameters refuse', () => withSettings({ rank: 0 }), /parameters: rank must be positive/],
  [
    'settings of a built-in router',
    () => parsed({ settings: { rank: 5 } }),
    /invalid model\.moe\.settings: .*must be \{\} for the router "top-k": only a router of your own has further settings/,
  ],
])('%s is refused by name', (_, act, message) => {
  expect(act).toThrow(message)
})

test('a run whose router is not loaded is read with its settings', () => {
  const stored = { router: 'own', own: `gone@${'0'.repeat(16)}`, settings: { any: 1 } }
  expect(parsed(stored).model.moe).toMatchObject(stored)
})

test.each([
  ['weights', 'wieght', /^router misspelt: choose: .+ \(weights has no "wieght": it has down\)$/],
  ['settings', 'rnk', /\(settings has no "rnk": it has rank and bend; did you mean "rank"\?\)$/],
] as const)('a misspelt name of its %s is in the message of the error that follows', (of, name, message) => {
  const id = `misspelt@${name.padEnd(16, '0').replaceAll(/[^0-9a-f]/g, '0')}`
  ownRouters.register(id, {
    ...router,
    name: 'misspelt',
    choose: (input) => {
      const values: Readonly<Record<string, unknown>> = input[of]
      // Looking for a name is no mistake.
      if ('gone' in values) throw new Error('never')
      return (values[name] as never as { shape: never }).shape
    },
  })
  const { moe } = withSettings({}).model
  const weights = { down: input('down', 'float32', [4, 2]) }
  const given = { moe: moe as NonNullable<typeof moe>, x_TD: input('x', 'float32', [3, 4]), weights }
  expect(() =>
    ownRouters.get(id).choose({ ...given, tokens_T: given.x_TD, sequence: 3, training: true, settings: {} }),
  ).toThrow(message)
})
