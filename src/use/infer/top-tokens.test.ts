import { expect, test } from 'vitest'
import type { BatchTrace } from './routing-tracer.ts'
import { frequentTokens, sampledAssignments } from './top-tokens.ts'

/** The tokens 7 7 8 9 and a token of filler, each with two choices of four experts. */
async function* batches(): AsyncGenerator<BatchTrace> {
  yield {
    windows: [],
    token_T: Int32Array.of(7, 7, 8, 9, 7),
    document_T: Int32Array.of(0, 0, 0, 0, -1),
    loss: 0,
    routers: [
      {
        layer: 0,
        module: 'ffn',
        experts: 4,
        prototypes: 1,
        expert_TK: Int32Array.of(0, 1, 0, 2, 0, 1, 3, 2, 0, 1),
        gate_TK: new Float32Array(10),
        kept_TK: new Uint8Array(10).fill(1),
        entropy_T: null,
      },
    ],
  }
}
const show = (token: number) => `<${token}>`

test('tokens are listed with count, share and lift, the most frequent first; filler is not counted', async () => {
  const sample = await sampledAssignments(batches())
  // Expert 0 has three of the four tokens: every 7 and every 8.
  expect(frequentTokens(sample, { router: 0, expert: 0 }, 10, show)).toEqual({
    looked: 4,
    assigned: 3,
    tokens: [
      { token: '<7>', count: 2, share: 1, lift: 4 / 3 },
      { token: '<8>', count: 1, share: 1, lift: 4 / 3 },
    ],
  })
  // Expert 1 has half of the tokens and half of the 7s: no preference.
  expect(frequentTokens(sample, { router: 0, expert: 1 }, 1, show).tokens).toEqual([
    { token: '<7>', count: 1, share: 0.5, lift: 1 },
  ])
})

test('an expert without assignments has an empty list of tokens', async () => {
  const sample = await sampledAssignments(batches())
  expect(frequentTokens(sample, { router: 0, expert: 5 }, 10, show)).toEqual({ looked: 4, assigned: 0, tokens: [] })
})
