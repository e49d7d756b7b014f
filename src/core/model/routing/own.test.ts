/** Settings of a router of the user's own: what its functions get, and what a configuration may say. */
import { expect, test } from 'vitest'
import { parseInput } from '../../config/problems.ts'
import { runSchema } from '../../config/run-config.ts'
import { anyVocabulary } from '../../config/testing/any-vocabulary.ts'
import { input } from '../../graph/tensor.ts'
import type { PluginSettings } from '../../plugins.ts'
import { modelSchema } from '../config.ts'
import { describeModel } from '../describe.ts'
import { type OwnRouter, ownRouters } from './own.ts'

let seen: PluginSettings[] = []
const router: OwnRouter = {
  name: 'ranked',
  settings: { rank: 2, bend: false },
  parameters({ width, settings }) {
    seen.push(settings)
    if (Number(settings.rank) < 1) throw new Error('rank must be positive')
    return { down: { shape: [width, Number(settings.rank)], init: 'normal' } }
  },
  choose: () => {
    throw new Error('it is never traced')
  },
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
  const parametersOf = (settings: object) =>
    describeModel(modelSchema.parse({ ...size, moe: { router: 'own', own, settings } })).parameters
  // The router has a matrix [D, rank].
  expect(parametersOf({ rank: 5 }) - parametersOf({})).toBe(8 * (5 - 2))
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
