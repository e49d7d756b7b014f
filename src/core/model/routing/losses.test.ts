/** Tests of the mean total gate with values worked by hand: logits are the logarithms of given probabilities. */
import { expect, test } from 'vitest'
import { evaluate } from '../../../../test/support/evaluate.ts'
import { constant } from '../../graph/tensor.ts'
import { moeSchema } from '../config/moe-config.ts'
import { placeChoices } from './capacity.ts'
import { totalGate } from './losses.ts'
import { route } from './routers.ts'

const EXPERTS = 4
const probabilities = [
  [0.5, 0.25, 0.125, 0.125],
  [0.4, 0.3, 0.2, 0.1],
  [0.1, 0.2, 0.3, 0.4],
]
const tokens = probabilities.length
const identity = Float64Array.from({ length: EXPERTS ** 2 }, (_, i) => (i % (EXPERTS + 1) === 0 ? 1 : 0))

type Settings = Partial<Parameters<typeof moeSchema.parse>[0] & object>

/** The mean total gate of three tokens that are one group and are served in their order. */
async function gateOf(settings: Settings): Promise<number> {
  const moe = moeSchema.parse({ experts: EXPERTS, capacity: 'none', ...settings })
  const given = Int32Array.from({ length: tokens * moe.k }, (_, i) => i % moe.k)
  const choice = route({
    moe,
    x_TD: constant(Float64Array.from(probabilities.flat().map(Math.log)), 'float64', [tokens, EXPERTS]),
    weights: {
      weight: constant(identity, 'float64', [EXPERTS, EXPERTS]),
      bias: constant(new Float64Array(EXPERTS), 'float64', [EXPERTS]),
    },
    tokens_T: constant(new Int32Array(tokens), 'int32', [tokens]),
    sequence: tokens,
    given_TK: constant(given, 'int32', [tokens, moe.k]),
    training: true,
  })
  const placement = placeChoices(moe, choice, { groups: 1, sequence: tokens, rule: 'train' })
  const { gate } = await evaluate({ gate: totalGate(choice, placement) }, {})
  return gate?.[0] as number
}

/** Every expert has one place. If tokens are served in order, all choices of the second token find theirs taken. */
const onePlace = { capacity: '1x', factor: 1, priority: 'token' } as const

test.each<[string, Settings, number]>([
  ['top-1', { router: 'top-k' }, (0.5 + 0.4 + 0.4) / 3],
  ['top-2', { router: 'top-k', k: 2 }, (0.75 + 0.7 + 0.7) / 3],
  ['top-1 with a dropped token, which counts 0', { router: 'top-k', ...onePlace }, (0.5 + 0 + 0.4) / 3],
  ['top-2 with a dropped token', { router: 'top-k', k: 2, ...onePlace }, (0.75 + 0 + 0.7) / 3],
  ['top-2 with a scale', { router: 'top-k', k: 2, routedScale: 2.5 }, (2.5 * (0.75 + 0.7 + 0.7)) / 3],
  ['renormalised top-2', { router: 'top-k', k: 2, renormalize: true }, 1],
  ['renormalised top-2 with a dropped token', { router: 'top-k', k: 2, renormalize: true, ...onePlace }, 2 / 3],
  ['softmax over the chosen', { router: 'bias', k: 2, softmax: 'after' }, 1],
  [
    'prototypes, whose gates add up',
    { router: 'prototype', prototypes: 2 },
    (0.5 / 0.75 + 0.125 / 0.25 + 0.4 / 0.7 + 0.2 / 0.3 + 0.2 / 0.3 + 0.4 / 0.7) / 3,
  ],
  ['sigmoids of logits: p / (1 + p)', { router: 'top-k', scores: 'sigmoid' }, (0.5 / 1.5 + 2 * (0.4 / 1.4)) / 3],
  // Experts 0 to 3 take tokens 0, 1, 2 and 2.
  ['expert choice', { router: 'expert-choice', capacity: '1x', factor: 1 }, (0.5 + 0.3 + (0.3 + 0.4)) / 3],
  ['hash', { router: 'hash' }, 1],
  ['hash top-2', { router: 'hash', k: 2 }, 1],
  // Every token goes to experts 0 and 1, which serve only the first token.
  ['hash top-2 with two dropped tokens', { router: 'hash', k: 2, ...onePlace }, 1 / 3],
  ['random', { router: 'random', k: 2, routedScale: 1.5 }, 1.5],
])('the mean total gate of %s', async (_, settings, expected) => {
  expect(await gateOf(settings)).toBeCloseTo(expected, 12)
})
