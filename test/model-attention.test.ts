/** Experts in the projections of attention, against the witness and against dense projections that they must equal. */
import { describe, expect, test } from 'vitest'
import { base, caseOf, checkGradient, close, compare, compile, layouts, routers, run } from './support/model-check.ts'
import { type CaseOverrides, randomCase } from './witness/generate.ts'
import { type WitnessInput, witnessForward } from './witness/model.ts'

describe('experts in attention agree with the witness', () => {
  const dropping = { factor: 0.75, evalFactor: 1.25 }
  for (const attention of ['qkv', 'all'] as const)
    for (const router of Object.keys(routers))
      test(`${attention}, ${router}: loss, statistics and gradient`, async () => {
        const byExperts = router === 'expert-choice'
        const learned = router !== 'hash' && router !== 'random'
        const capacities = byExperts ? (['kx', '1x'] as const) : (['kx', '1x', 'none'] as const)
        for (const [i, capacity] of capacities.entries()) {
          const priority = byExperts || i === 1 ? 'position' : learned && i === 0 ? 'gate' : 'token'
          const compute = i === 1 ? 'padded' : 'ragged'
          const moe = { ...dropping, attention, compute, capacity, priority, groups: 1 + (i % 2) } as const
          await compare(caseOf(router, i, moe, { layers: 2 }), 'float64', 1e-7)
        }
        for (const [seed, compute] of layouts) {
          const moe = { ...dropping, attention, compute, capacity: 'kx', every: 1 + (seed % 2) } as const
          await checkGradient(caseOf(router, seed, moe, { layers: 2 }), seed)
        }
      })

  test('in float32, within rounding', async () => {
    for (const router of Object.keys(routers)) await compare(caseOf(router, 7, { attention: 'all' }), 'float32', 1e-4)
  })
})

describe('experts in attention equal the dense projection', () => {
  /** A case where all experts of a projection are the same matrix, and the dense model with these matrices. */
  function twins(seed: number, moe: NonNullable<CaseOverrides['moe']>) {
    const settings = { ...base, balance: { coefficient: 0 }, zLoss: 0, ...moe }
    const draw = (attention: 'none' | 'all') =>
      randomCase(seed, { moe: { ...settings, attention }, model: { layers: 2 }, batch: 2 })
    const [dense, sparse] = [draw('none'), draw('all')]
    const parameters = new Map(sparse.parameters)
    for (const [name, { shape, data }] of dense.parameters) {
      const experts = parameters.get(`${name}.experts.weight`)
      if (experts) {
        const copies = Array.from({ length: experts.shape[0] as number }, () => [...data]).flat()
        parameters.set(`${name}.experts.weight`, { shape: experts.shape, data: Float64Array.from(copies) })
      } else parameters.set(name, { shape, data })
    }
    const choices = new Map([...(sparse.choices ?? []), ...(dense.choices ?? [])])
    return { dense, sparse: { ...sparse, parameters, ...(choices.size > 0 && { choices }) } }
  }

  async function gradientsOf(given: WitnessInput) {
    const compiled = await compile(given, 'float64')
    const result = run(compiled, given)
    compiled.program.release()
    const sums = new Map<string, number[]>()
    for (const [i, { witness, expert }] of compiled.parameters.entries()) {
      const values = result[`gradient ${i}`] ?? []
      const stack = witness.endsWith('.experts.weight')
      // All experts of a stack are the same matrix, so its gradient is the sum over the experts.
      const count = stack && expert === null ? (given.parameters.get(witness)?.shape[0] ?? 1) : 1
      const size = values.length / count
      const name = stack ? witness.replace('.experts.weight', '') : `${witness}${expert === null ? '' : `.${expert}`}`
      const sum = sums.get(name) ?? Array.from({ length: size }, () => 0)
      sums.set(
        name,
        sum.map((value, at) => {
          let total = value
          for (let e = 0; e < count; e++) total += values[e * size + at] as number
          return total
        }),
      )
    }
    return { loss: result.loss?.[0], sums }
  }

  const cases: Record<string, NonNullable<CaseOverrides['moe']>> = {
    'one expert with gate 1': { router: 'top-k', k: 1, experts: 1, capacity: 'none' },
    'equal experts whose gates sum to 1': { router: 'top-k', k: 2, experts: 4, renormalize: true, capacity: 'none' },
    'equal experts drawn at random': { router: 'random', k: 2, experts: 4, capacity: 'none' },
  }
  for (const [name, moe] of Object.entries(cases))
    test(name, async () => {
      for (const [seed, compute] of layouts) {
        const { dense, sparse } = twins(seed, { ...moe, compute, every: 1, sharedHidden: 0 })
        const [plain, routed] = [await gradientsOf(dense), await gradientsOf(sparse)]
        close(routed.loss, plain.loss as number, 1e-7)
        for (const [parameter, values] of plain.sums)
          values.forEach((value, at) => {
            close(routed.sums.get(parameter)?.[at], value, 1e-7)
          })
      }
    })

  test('a dropped choice gives zero queries, keys and values', async () => {
    // One expert with room for one of 8 tokens; the others attend evenly to zeros and add zero.
    const moe = { router: 'top-k', k: 1, experts: 1, attention: 'all', capacity: '1x', factor: 1 / 8 } as const
    const given = caseOf('top-1', 3, { ...moe, priority: 'token', every: 1 }, { layers: 1, sequence: 4 })
    const training = { ...given, training: true }
    await compare(training, 'float64', 1e-7)
    const { layers } = witnessForward(training)
    expect(layers.get('0.qkv')?.kept).toEqual([1])
    expect(layers.get('0.output')?.kept).toEqual([1])
  })
})
