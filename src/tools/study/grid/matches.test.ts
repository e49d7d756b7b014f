/** Arms that are matched to other arms: solved values against counts by hand and a search of all values, and errors. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { presets } from '../../../core/config/presets.ts'
import { runSchema } from '../../../core/config/run-config.ts'
import { describeModel } from '../../../core/model/describe.ts'
import { loadConfig, readFields } from '../../../node/run/load-config.ts'
import { setField } from '../../../node/run/set-option.ts'
import type { Match } from '../contract.ts'
import { type Quantity, type Settings, type SpecificationInput, specificationSchema } from '../specification.ts'
import { expand } from './grid.ts'
import { withAssignments } from './read-specification.ts'
import { assignmentsOf } from './settings.ts'

const grid = async (input: SpecificationInput, sets: string[] = []) =>
  expand(withAssignments(specificationSchema.parse({ base: 'tiny', seeds: [1], ...input }), sets))
const refused = (arms: SpecificationInput['arms'], more: SpecificationInput = {}) =>
  expect(grid({ arms: { 'top-1': {}, ...arms }, ...more })).rejects

const dense = (match: Settings): Settings => ({ 'model.moe': null, match })
const value = async (arms: Record<string, Settings>, more: SpecificationInput = {}): Promise<Match> => {
  const { matches } = await grid({ arms, ...more })
  expect(matches).toHaveLength(1)
  return matches[0] as Match
}

/** Parameters of a model with GELU, RMS norms and an untied head, by hand. `ffn`: parameters of a layer's network. */
const byHand = ({ v, d, layers }: { v: number; d: number; layers: number }, ffn: number) =>
  // The embedding and the head, the last norm; a layer has four matrices of attention, two norms and the network.
  2 * v * d + d + layers * (4 * d * d + 2 * d + ffn)

describe('the solved width of a dense model', () => {
  // V 512, D 32, two layers, four experts of hidden width F, of which a token uses k. A dense network has 2·D·H
  // parameters, a layer of experts D·N in its router and 2·D·F in each expert. So H = N/2 + K·F with the experts of a
  // token, or N/2 + N·F with all of them; a float32 weight has a gradient and two moments, all float32.
  const shape = { v: 512, d: 32, layers: 2 }
  const sparse = { 'model.moe.experts': 4, 'model.moe.hidden': 48, 'model.moe.k': 2 }
  const active = byHand(shape, 32 * 4 + 2 * 2 * 32 * 48)
  const total = byHand(shape, 32 * 4 + 4 * 2 * 32 * 48)
  test.each<[Quantity, number, number]>([
    ['activeParameters', 98, active],
    ['totalParameters', 194, total],
    ['memory', 194, 16 * total],
    // Six operations for each weight outside the embedding table and norms, and 12·S·D a layer for attention.
    ['activeFlops', 98, 6 * (active - 512 * 32 - 5 * 32) + 2 * 12 * 32 * 32],
  ])('for equal %s is %d, as a count by hand gives it', async (equal, hidden, target) => {
    const { cells, arms, matches } = await grid({
      set: { 'model.activation': 'gelu' },
      arms: { 'top-2': sparse, dense: dense({ equal }) },
    })
    const match = { arm: 'dense', of: 'top-2', equal, by: 'model.hidden', value: hidden, target, reached: target }
    expect(matches).toEqual([match])
    expect(arms.dense).toEqual({ 'model.moe': null, 'model.hidden': hidden })
    expect(cells.find(({ arm }) => arm === 'dense')?.config).toEqual({
      ...(await loadConfig('tiny', ['model.moe=null', `model.hidden=${hidden}`, 'model.activation=gelu'])),
      ...{ data: expect.anything(), train: expect.anything() },
    })
  })

  test('has a mismatch of less than half a step if no whole number is equal', async () => {
    // Three experts have half a parameter of the router for each column of the dense network.
    const { value: hidden, ...match } = await value({
      'top-1': { 'model.moe.experts': 3, 'model.moe.hidden': 48 },
      dense: dense({ equal: 'activeParameters' }),
    })
    expect([49, 50]).toContain(hidden)
    expect(Math.abs(match.reached - match.target)).toBe(2 * 32)
  })
})

test('the value is the nearest of all that the schema accepts', async () => {
  const fields: readonly [by: string, largest: number][] = [
    ['model.hidden', 700],
    ['model.width', 160],
    ['model.layers', 30],
    ['model.moe.hidden', 400],
    ['model.moe.experts', 64],
    ['model.moe.sharedHidden', 300],
    ['model.keyValueHeads', 6],
  ]
  const quantities = ['activeFlops', 'totalParameters', 'activeParameters'] as const
  const measured = (quantity: (typeof quantities)[number], config: ReturnType<typeof runSchema.parse>) => {
    const { flopsPerToken, parameters, activeParameters } = describeModel(config.model)
    return { activeFlops: flopsPerToken, totalParameters: parameters, activeParameters }[quantity]
  }
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...fields),
      fc.constantFrom(...quantities),
      fc.record({
        'model.heads': fc.constantFrom(2, 6),
        'model.headWidth': fc.constantFrom(null, 16),
        'model.moe.every': fc.constantFrom(1, 2, 3),
        'model.layers': fc.integer({ min: 3, max: 7 }),
        'model.moe.hidden': fc.integer({ min: 8, max: 90 }),
        'model.moe.prototypes': fc.constantFrom(1, 2, 4),
      }),
      fc.integer({ min: 1, max: 100 }),
      async ([by, largest], equal, settings, share) => {
        const shared = { ...settings, 'model.width': 48, 'model.moe.router': 'prototype', 'model.moe.experts': 8 }
        const { [by]: _, ...arm } = shared as Settings
        const fields = await readFields('tiny', assignmentsOf(arm), presets)
        const withBy = (one: number) => {
          const { data } = runSchema.safeParse(setField(fields, by.split('.'), one))
          return data ? measured(equal, data) : null
        }
        const all: { one: number; quantity: number }[] = []
        for (let one = by === 'model.moe.sharedHidden' ? 0 : 1; one <= largest; one++) {
          const quantity = withBy(one)
          if (quantity !== null) all.push({ one, quantity })
        }
        // The other arm is between two values: it has one of them, and a hidden width of its own.
        const chosen = all[Math.floor((share / 100) * (all.length - 1))]?.one
        const other = { ...arm, [by]: chosen, 'model.moe.hidden': 1 + (Number(arm['model.moe.hidden'] ?? 40) % 97) }
        const input = { arms: { other, arm: { ...arm, match: { equal, of: 'other', by } } } }
        const match = await grid(input).then(
          ({ matches }) => matches[0],
          (error: Error) => {
            // Where every layer has experts, a dense hidden width changes nothing.
            const isPlateau = new Set(all.map(({ quantity }) => quantity)).size < all.length
            if (isPlateau && error.message.includes('other values of it give the same')) return
            if (!/within 10 %|same configuration/.test(error.message)) throw error
          },
        )
        fc.pre(match !== undefined && match.value < largest)
        if (match === undefined) return
        const distances = all.map(({ quantity }) => Math.abs(quantity - match.target))
        expect(Math.abs(match.reached - match.target)).toBe(Math.min(...distances))
      },
    ),
    { numRuns: 12 },
  )
}, 120_000)

describe('a match', () => {
  const small = { 'model.moe.hidden': 96, 'model.moe.k': 2 }

  test('without a field solves for the experts of an arm that has experts', async () => {
    const { by, reached, target } = await value({
      'top-1': { 'model.moe.hidden': 96 },
      'top-2': { 'model.moe.k': 2, match: { equal: 'activeParameters' } },
    })
    expect(by).toBe('model.moe.hidden')
    expect(reached).toBe(target)
  })

  test('is solved after all other settings: of the study, of the command line and of the arm', async () => {
    const arms = { 'top-2': small, dense: dense({ equal: 'activeParameters' }) }
    const solved = async (sets: string[], set: Settings = {}) => (await grid({ arms, set }, sets)).matches[0]?.value
    expect(await solved([])).toBe(2 + 2 * 96)
    // With SwiGLU both networks have three matrices: 3·H = N + K·3·F.
    expect(await solved(['model.activation=swiglu'])).toBe(Math.round(4 / 3) + 2 * 96)
    expect(await solved([], { 'model.moe.experts': 8 })).toBe(4 + 2 * 96)
    expect(await solved(['model.moe.experts=16'], { 'model.moe.experts': 8 })).toBe(8 + 2 * 96)
  })

  test('decides the configurations of trials and of branches', async () => {
    const { sweeps, cells } = await grid({
      set: { 'train.steps': 80, 'train.schedule': { kind: 'wsd', warmup: 5 } },
      arms: { 'top-2': small, dense: dense({ equal: 'activeParameters' }) },
      tune: {},
      branches: [0.5, 1],
    })
    const ofDense = cells.filter(({ arm }) => arm === 'dense')
    expect(ofDense.map(({ config }) => [config.train.steps, config.model.hidden])).toEqual([
      [40, 194],
      [80, 194],
    ])
    expect(sweeps.find(({ arm }) => arm === 'dense')?.config.model.hidden).toBe(194)
  })

  test('may follow another match, in any order of the arms', async () => {
    const { matches } = await grid({
      arms: {
        wide: { 'model.width': 48, ...dense({ equal: 'totalParameters', of: 'dense' }) },
        dense: dense({ equal: 'totalParameters', of: 'top-2' }),
        'top-2': small,
      },
    })
    expect(matches.map(({ arm, of }) => [arm, of])).toEqual([
      ['wide', 'dense'],
      ['dense', 'top-2'],
    ])
    expect(matches[0]?.target).toBe(matches[1]?.reached)
  })

  test('without an arm is to the baseline that a question compares the arm with', async () => {
    const { of } = await value(
      { 'top-1': {}, 'top-2': small, dense: dense({ equal: 'activeParameters' }) },
      { questions: [{ title: 'q', contrasts: [['top-2', 'dense']] }] },
    )
    expect(of).toBe('top-2')
  })
})

describe('refused are', () => {
  const equal = 'activeParameters'

  test('an unknown arm', () =>
    refused({ dense: dense({ equal, of: 'top-2' }) }).toThrow(
      /unknown arm "top-2" in match\.of of arm "dense" \(arms: "top-1", "dense"; did you mean "top-1"\?\)/,
    ))

  test('arms that are matched in a circle, and an arm that is matched to itself', async () => {
    const circle = {
      a: dense({ equal, of: 'b' }),
      b: { match: { equal, of: 'a' } },
    }
    await refused(circle).toThrow(/"a" is matched to "b" is matched to "a"/)
    await refused({ a: dense({ equal, of: 'a' }) }).toThrow(/"a" is matched to "a"/)
  })

  test('a baseline that names no other arm', () =>
    refused({ 'top-1': { match: { equal } }, b: {} }).toThrow(
      /invalid match of arm "top-1": it has no field of, and the arm is a baseline itself/,
    ))

  test.each([
    ['model.hiden', /"model\.hiden" \(expected the path of a field of model that is a whole number.*"model\.hidden"/],
    ['model.activation', /"model\.activation" \(expected the path of a field of model that is a whole number/],
    ['train.schedule.warmup', /expected the path of a field of model that is a whole number/],
    ['runtime.threads', /expected the path of a field of model that is a whole number/],
    ['train.seed', /invalid train\.seed in a study: it is set by seeds/],
    ['model.moe.hidden', /the arm itself sets model\.moe to null/],
  ])('the field %s', (by, message) => refused({ dense: dense({ equal, by }) }).toThrow(message))

  test('a field that the arm sets itself', () =>
    refused({ dense: { 'model.hidden': 64, ...dense({ equal }) } }).toThrow(
      /invalid match\.by of arm "dense": "model\.hidden" \(the arm itself sets model\.hidden to 64/,
    ))

  test('a field of experts if the study has none', () =>
    refused(
      { b: { match: { equal, by: 'model.moe.hidden' } }, 'top-1': { 'model.hidden': 32 } },
      { set: { 'model.moe': null } },
    ).toThrow(/model\.moe of the arm is null/))

  test('an arm that cannot come near the other one, with the nearest values and their mismatch', async () => {
    // The embedding and the head of 512 tokens alone have more parameters than the other arm.
    const wide = { 'model.width': 256, ...dense({ equal }) }
    await refused({ wide }).toThrow(
      /invalid match of arm "wide": no value of model\.hidden comes within 10 % of active parameters .* as "top-1" has \(nearest: 1 with active parameters .*, \+\d+ %;/,
    )
    const deep = { 'model.moe.hidden': 2000, 'model.moe.k': 2, match: { equal, of: 'top-1', by: 'model.layers' } }
    await refused({ deep }).toThrow(/no value of model\.layers comes within 10 %/)
  })

  test('a value between two steps that are too far apart, with both', () =>
    refused({
      'top-1': { 'model.layers': 3 },
      // The embedding, the head and the last norm have 32,800 parameters, the other arm 3 · 8,384 more. One layer of
      // this arm has 17,408.
      coarse: { 'model.moe.hidden': 205, match: { equal, of: 'top-1', by: 'model.layers' } },
    }).toThrow(
      'no value of model.layers comes within 10 % of active parameters 58.0k, as "top-1" has (nearest: 1 with active parameters 50.2k, −13.4 %; 2 with active parameters 67.6k, +16.7 %; solve',
    ))

  test('a field that does not change the quantity, or not at every value', async () => {
    await refused({
      b: { 'model.moe.hidden': 200, match: { equal: 'totalParameters', by: 'model.moe.k' } },
    }).toThrow(/"model\.moe\.k" \(other values of it give the same total parameters/)
    // Heads share the width of the model.
    await refused({ b: { 'model.moe.hidden': 66, match: { equal, by: 'model.heads' } } }).toThrow(
      /invalid match\.by of arm "b": "model\.heads" \(other values of it give the same active parameters .*; solve for another/,
    )
    // Of six layers one has experts, whether it is every fourth, fifth or sixth.
    const every = { 'model.layers': 6, 'model.hidden': 64 }
    await refused({
      'top-1': { ...every, 'model.moe.every': 5 },
      b: { ...every, match: { equal: 'totalParameters', by: 'model.moe.every' } },
    }).toThrow(/"model\.moe\.every" \(other values of it give the same total parameters/)
  })

  test('a setting of all arms that every arm sets itself or has solved for', async () => {
    const arms = { 'top-1': { 'model.moe.hidden': 96 }, b: { 'model.moe.k': 2, match: { equal } } }
    const message =
      /invalid model\.moe\.hidden for all arms \(every arm of the study sets it itself, or has it solved for by its match\)/
    await expect(grid({ arms }, ['model.moe.hidden=64'])).rejects.toThrow(message)
    await refused(arms, { set: { 'model.moe.hidden': 64 } }).toThrow(message)
    const { matches } = await grid({ arms: { ...arms, c: {} } }, ['model.moe.hidden=64'])
    expect(matches).toHaveLength(1)
  })

  test('an arm that is wrong whatever value its field has', () =>
    refused({ dense: { 'model.layrs': 3, ...dense({ equal }) } }).toThrow(/arm "dense": unknown field.*model\.layers/))

  test('--set of a group whose field is solved for', () =>
    expect(
      grid({ arms: { a: {}, b: { match: { equal, by: 'model.moe.hidden' }, 'model.moe.k': 2 } } }, ['model.moe=null']),
    ).rejects.toThrow(/an arm of the study sets model\.moe/))
})
