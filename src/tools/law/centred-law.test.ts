/** The derivatives of fitted laws against differences, and the centred form of a law against its published form. */
import { describe, expect, test } from 'vitest'
import { centred, coefficientsOf, type Form, logLosses, numbersOf } from './centred-law.ts'
import { forms } from './fit.ts'
import { lossAt } from './joint-law.ts'
import { numerically } from './least-squares.ts'

const centre = { active: 4e5, tokens: 3e6, experts: 1 }
const points = [1e5, 1e6].flatMap((active) =>
  [1e6, 2e7].flatMap((tokens) => [1, 2, 8, 32].map((experts) => ({ active, tokens, experts }))),
)
const relative = points.map((point) => centred(point, centre))
/** Numbers in a plausible place, each with a digit of its own. */
const x = [0.31, -1.22, -0.13, -1.54, 0.65, -0.06, 0.07, 0.018, -0.019, 0.51, 4.2, -3.3, -0.24, -0.45, 2.3]

const nameOf = ({ transform, gamma, zeta }: Form) => `${transform}${gamma ? ', γ' : ''}${zeta ? ', ζ' : ''}`

describe.each(forms.map((form) => [nameOf(form), form] as const))('the form %s', (_, form) => {
  test('has the derivatives that differences have', () => {
    const losses = logLosses(form, relative)
    const byDifferences = numerically((at) => losses(at).map(({ value }) => value))(x)
    for (const [i, { slopes }] of losses(x).entries())
      for (const place of numbersOf(form))
        expect(slopes[place], `number ${place} at point ${i}`).toBeCloseTo(byDifferences[i]?.slopes[place] ?? 0, 5)
  })

  test('does not depend on numbers that it lacks', () => {
    const losses = logLosses(form, relative)
    const has = new Set(numbersOf(form))
    const moved = losses(x.map((value, i) => (has.has(i) ? value : value + 0.3)))
    expect(moved.map(({ value }) => value)).toEqual(losses(x).map(({ value }) => value))
  })

  test('is the published form without a centre', () => {
    const law = coefficientsOf(form, x, centre)
    for (const [i, { value }] of logLosses(form, relative)(x).entries()) {
      const point = points[i] as (typeof points)[number]
      const dense = lossAt(law, { ...point, experts: 1 })
      const expected = point.experts === 1 ? Math.log(dense) : Math.log(lossAt(law, point) / dense)
      expect(value).toBeCloseTo(expected, 10)
    }
  })
})
