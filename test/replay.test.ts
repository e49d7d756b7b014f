/**
 * The model with the routes of a replay, beside the witness: losses, statistics and gradients.
 *
 * @slow
 */
import { describe, expect, test } from 'vitest'
import { activatedExperts, SCORING_ROUTERS } from '../src/core/model/config/moe-config.ts'
import { routedModules } from '../src/core/model/parameters.ts'
import { testRandom } from './support/gradient-check.ts'
import { caseOf, compareWithGradient, compile, layouts, routers, run } from './support/model-check.ts'
import { routedOf } from './support/routed.ts'
import type { Routed, WitnessInput } from './witness/model.ts'

/** A case with experts for its tokens; `chosen` gives those of a token, of one prototype of `size` experts. */
function replayed(given: WitnessInput, chosen: (size: number, k: number, token: number) => readonly number[]) {
  const { config, tokens } = given
  const { moe } = config
  if (!moe) throw new Error('a dense model')
  const size = moe.experts / moe.prototypes
  const choices = new Map<Routed, Int32Array>()
  for (let layer = 0; layer < config.layers; layer++)
    for (const module of routedModules(config, layer)) {
      const experts = Array.from(tokens, (_, token) =>
        Array.from({ length: moe.prototypes }, (_, z) =>
          chosen(size, moe.k, token).map((expert) => (expert < 0 ? -1 : z * size + expert)),
        ),
      ).flat(2)
      expect(experts.length).toBe(tokens.length * activatedExperts(moe))
      choices.set(routedOf({ layer, module }), Int32Array.from(experts))
    }
  return { ...given, choices }
}

const scoring = Object.keys(routers).filter((name) => SCORING_ROUTERS.includes(routers[name]?.router ?? 'top-k'))

describe('with fixed routes, and one token in four left to the router', () => {
  for (const name of scoring)
    test(`${name}: losses are those of the witness, gradients its finite differences`, async () => {
      for (const [seed, compute] of layouts) {
        const random = testRandom(seed)
        const moe = { compute, capacity: 'kx', factor: 0.75, evalFactor: 1 } as const
        await compareWithGradient(
          replayed(caseOf(name, seed, moe, { layers: 2 }), (size, k, token) => {
            const first = Math.floor(random() * size)
            return Array.from({ length: k }, (_, j) => (token % 4 === 3 ? -1 : (first + j) % size))
          }),
          seed,
        )
      }
    })
})

test('experts to which no token is sent have no gradient', async () => {
  const moe = { capacity: 'none', experts: 4 } as const
  const given = replayed(caseOf('top-1', 3, moe, { layers: 2 }), () => [2])
  const compiled = await compile({ ...given, training: true }, 'float64', true)
  const results = run(compiled, given)
  compiled.program.release()
  let seen = 0
  for (const [i, { witness, expert }] of compiled.parameters.entries()) {
    if (!witness.includes('.experts.')) continue
    const gradients = results[`gradient ${i}`] as number[]
    const size = gradients.length / (expert === null ? 4 : 1)
    for (let e = 0; e < gradients.length / size; e++) {
      const isUsed = (expert ?? e) === 2
      expect(gradients.slice(e * size, (e + 1) * size).some((value) => value !== 0)).toBe(isUsed)
      seen++
    }
  }
  expect(seen).toBeGreaterThanOrEqual(8)
})
