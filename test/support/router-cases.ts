/** Test cases of the kernels of a learned router. Their reference is made of ops of the graph, in float64. */
import fc from 'fast-check'
import { routeTokens } from '../../src/core/graph/ops/router.ts'
import type { MoeConfig } from '../../src/core/model/config/moe-config.ts'
import { modelSchema } from '../../src/core/model/config.ts'
import { placeChoices } from '../../src/core/model/routing/capacity.ts'
import type { RouterLosses } from '../../src/core/model/routing/contract.ts'
import { routerLosses } from '../../src/core/model/routing/losses.ts'
import * as g from '../../src/faces/library/graph.ts'
import type { KernelCase } from './kernel-check.ts'

interface RouterCase {
  /** Number of tokens in each group. */
  readonly tokens: number
  readonly groups?: number
  readonly prototypes: number
  /** Number of experts of a prototype, and of choices among them. */
  readonly experts: number
  readonly k: number
  readonly form?: 'switch' | 'gshard'
  /** Largest logit. */
  readonly range?: number
  /** Logits are multiples of this number, so that some are equal. */
  readonly step?: number
  /** Whether choices and entropy, which have no gradient, are checked too, and gradients are not. */
  readonly forward?: boolean
}

function routerCase(given: RouterCase): KernelCase {
  const { tokens, groups = 1, prototypes, experts, k, form = 'switch', range = 2, step, forward = false } = given
  const router = { router: 'prototype', experts: prototypes * experts, prototypes, k, groups, hidden: 3 }
  const settings = { ...router, balance: { form }, priority: 'token' }
  const { moe } = modelSchema.parse({ width: 4, heads: 1, moe: settings }) as { moe: MoeConfig }
  const shape = [groups * tokens, prototypes, experts]
  const results = (expert: g.Tensor, gate: g.Tensor, { balance, z, entropy }: RouterLosses) =>
    forward ? [g.cast(expert, gate.dtype), gate, balance, z, entropy] : [gate, balance, z]
  return {
    inputs: {
      logits: {
        shape,
        values: (random) => {
          const value = range * (random() * 2 - 1)
          return step === undefined ? value : Math.round(value / step) * step
        },
      },
    },
    build({ logits }) {
      const rule = { groups, k, first: form === 'gshard' }
      const [expert, gate, balance, z, entropy] = routeTokens(logits as g.Tensor, rule)
      return results(expert, gate, { balance, z, entropy })
    },
    reference({ logits }) {
      const logits_TZN = logits as g.Tensor
      const probability_TZN = g.softmax(logits_TZN)
      const [best, local] = g.topK(probability_TZN, k)
      const firsts = Int32Array.from({ length: prototypes }, (_, z) => z * experts)
      const choices = [groups * tokens, prototypes * k]
      const expert_TK = g.reshape(g.add(local, g.constant(firsts, 'int32', [prototypes, 1])), choices)
      const choice = { expert_TK, gate_TK: g.reshape(best, choices), logits_TZN, probability_TZN }
      const placement = placeChoices(moe, choice, { groups, sequence: tokens, rule: 'none' })
      return results(expert_TK, choice.gate_TK, routerLosses(moe, choice, placement) as RouterLosses)
    },
    kernels: ['route-tokens', 'router-losses', ...(forward ? [] : ['route-tokens-gradient'])],
    forward,
  }
}

export const specialRouters: readonly KernelCase[] = [true, false].flatMap((forward) => [
  routerCase({ tokens: 1, prototypes: 1, experts: 1, k: 1, forward }),
  routerCase({ tokens: 130, prototypes: 1, experts: 7, k: 3, forward }),
  routerCase({ tokens: 300, groups: 2, prototypes: 3, experts: 4, k: 2, form: 'gshard', forward }),
  routerCase({ tokens: 129, groups: 3, prototypes: 2, experts: 33, k: 1, range: 9, forward }),
  // Some logits are equal, and some so far apart that all probabilities but the largest vanish.
  routerCase({ tokens: 40, prototypes: 2, experts: 6, k: 4, step: 1, forward }),
  routerCase({ tokens: 20, prototypes: 1, experts: 5, k: 1, range: 1e4, forward }),
])

const integer = (min: number, max: number) => fc.integer({ min, max })

export const drawnRouters: fc.Arbitrary<KernelCase> = fc
  .record({
    tokens: integer(1, 300),
    groups: integer(1, 3),
    prototypes: integer(1, 3),
    experts: integer(2, 20),
    k: integer(1, 2),
    form: fc.constantFrom('switch' as const, 'gshard' as const),
    range: fc.constantFrom(0.1, 2, 8),
    // Equal logits go to the first expert. Logits closer than their softmax in float32 can tell may go to either.
    step: fc.constant(2 ** -13),
    forward: fc.boolean(),
  })
  .map(routerCase)
