/**
 * Compares experts in the projections of attention with the witness, and with dense projections that they must equal.
 *
 * @slow
 */
import { describe, expect, test } from 'vitest'
import {
  base,
  caseOf,
  close,
  compare,
  compareWithGradient,
  compile,
  layouts,
  routers,
  run,
} from './support/model-check.ts'
import { type CaseOverrides, randomCase } from './witness/generate.ts'
import { type WitnessInput, witnessForward } from './witness/model.ts'

/** The first router of each kind; its variants differ in what the comparisons in all projections show. */
const firstOfKind = Object.entries(routers).flatMap(([name, { router }], i, all) =>
  all.findIndex(([, other]) => other.router === router) === i ? [name] : [],
)

describe('experts in attention agree with the witness', () => {
  const dropping = { factor: 0.75, evalFactor: 1.25 }
  for (const [r, router] of Object.keys(routers).entries()) {
    const learned = router !== 'hash' && router !== 'random'
    const byExperts = router === 'expert-choice'
    /** Settings that drop choices: padded rows by position in two groups, or ragged rows by gate in one group. */
    const droppingCase = (attention: 'qkv' | 'all', compute: 'padded' | 'ragged') => {
      const ofLayout =
        compute === 'padded'
          ? ({ capacity: '1x', priority: 'position', groups: 2, every: 2 } as const)
          : ({ capacity: 'kx', priority: byExperts ? 'position' : learned ? 'gate' : 'token', every: 1 } as const)
      return caseOf(router, r, { ...dropping, attention, compute, ...ofLayout }, { layers: 2 })
    }

    test(`in all projections, by ${router}: loss, statistics and gradient`, async () => {
      for (const [seed, compute] of layouts) await compareWithGradient(droppingCase('all', compute), seed)
      if (byExperts) return
      const dropless = { attention: 'all', compute: 'ragged', capacity: 'none', priority: 'token' } as const
      await compare(caseOf(router, r, dropless, { layers: 2 }), 'float64', 1e-7)
    })

    const compute = r % 2 === 0 ? 'padded' : 'ragged'
    if (!firstOfKind.includes(router)) continue
    test(`in QKV, by ${router}, ${compute}: loss, statistics and gradient`, () =>
      compareWithGradient(droppingCase('qkv', compute), r))
  }

  test('in float32, within rounding', async () => {
    for (const router of firstOfKind) await compare(caseOf(router, 7, { attention: 'all' }), 'float32', 1e-4)
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
    const compiled = await compile(given, 'float64', true)
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
