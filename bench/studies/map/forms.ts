/**
 * Forms of the law and shapes of the gain by how well they predict results that they were not fitted to: each size, each
 * number of experts, or the longest training of every size is left out. Every fit begins from its own starts.
 */
import { count, fixed, percent } from '../../../src/core/text/numbers.ts'
import type { Form } from '../../../src/tools/law/centred-law.ts'
import { fitForm, forms } from '../../../src/tools/law/fit.ts'
import { breakEven, forecast } from '../../../src/tools/law/forecast.ts'
import { differenceAt, type Point } from '../../../src/tools/law/joint-law.ts'
import { lackingForLaw, lawOf } from '../../../src/tools/law/law.ts'
import { mean, type Observation, type Observations, observe, type Pair } from '../../../src/tools/law/observations.ts'
import { type MapLine, measuredBreakEven } from '../../../src/tools/study/analysis/map/measured.ts'
import { tableText } from '../../support/command.ts'
import { fitShape, shapes } from './shapes.ts'

/** The fold in which a result is left out; null if it is always fitted. */
type Fold = (point: Point) => string | null

function foldsOf(pairs: readonly Pair[]): readonly Fold[] {
  const longest = new Map<number, number>()
  for (const { active, tokens } of pairs) longest.set(active, Math.max(tokens, longest.get(active) ?? 0))
  return [
    ({ active }) => `${count(active)} active parameters`,
    // The dense runs of all sizes are fitted when a number of experts is left out.
    ({ experts }) => (experts === 1 ? null : `${experts} experts`),
    ({ active, tokens }) => (tokens === longest.get(active) ? 'the longest trainings' : null),
  ]
}

const namesIn = (fold: Fold, points: readonly Point[]): string[] => [
  ...new Set(points.flatMap((point) => fold(point) ?? [])),
]

const gainOf = (one: Observation): number => -one.dense * Math.expm1(one.log)

interface Candidate {
  readonly name: string
  readonly predictor: (observations: Observations) => (point: Point) => number
}

const formNames = {
  none: 'published, Ê is E',
  start: 'published, Ê has a start',
  both: 'published, Ê has both ends',
  gain: 'gain: κ·ln E·N^ν·max(0, ln(D/onset))',
  limited: 'limited gain: Ê instead of E',
}
const nameOf = ({ transform, gamma, zeta }: Form): string =>
  `${formNames[transform]}${gamma ? ', γ' : ''}${zeta ? ', ζ' : ''}`

const candidates: readonly Candidate[] = [
  ...forms.map((form) => ({
    name: nameOf(form),
    predictor: (observations: Observations) => {
      const coefficients = fitForm(form, observations)
      return (point: Point) => -differenceAt(coefficients, point)
    },
  })),
  ...shapes.map((shape) => ({
    name: shape.name,
    predictor: ({ arms, deviation }: Observations) =>
      fitShape(
        shape,
        arms.map((one) => ({ ...one, gain: gainOf(one) })),
        deviation,
      ),
  })),
]

const rootMeanSquare = (values: readonly number[]): number => Math.sqrt(mean(values.map((value) => value ** 2)))

/** A table of the errors of all candidates, nats a token. */
export function errorTable(pairs: readonly Pair[]): string {
  const all = observe(pairs)
  const rows = candidates.map(({ name, predictor }) => {
    const errors = foldsOf(pairs).map((fold) =>
      namesIn(fold, all.arms).flatMap((left) => {
        const kept = (ones: readonly Observation[]) => ones.filter((one) => fold(one) !== left)
        const at = predictor({ ...all, dense: kept(all.dense), arms: kept(all.arms) })
        return all.arms.filter((one) => fold(one) === left).map((one) => at(one) - gainOf(one))
      }),
    )
    const at = predictor(all)
    return [
      name,
      ...[all.arms.map((one) => at(one) - gainOf(one)), ...errors].map((one) => fixed(rootMeanSquare(one), 4)),
    ]
  })
  return tableText([['gain', 'fitted', 'sizes', 'experts', 'longest'], ...rows], 'lrrrr')
}

/**
 * A table of the intervals and break-evens of forms of the law for sizes and numbers of experts that are left out, and
 * below it those without which the other results are too few for a law.
 * @param lines measured lines of the map, with all lengths of training
 */
export function intervalTable(pairs: readonly Pair[], lines: readonly MapLine[], chosen: readonly Form[]): string {
  const { arms } = observe(pairs)
  const folds = foldsOf(pairs)
    .slice(0, 2)
    .map((fold, i) => {
      const parts = namesIn(fold, arms).map((left) => {
        const kept = pairs.filter((pair) => fold(pair) !== left)
        return { left, kept, lacking: lackingForLaw(kept) }
      })
      return { fold, what: ['size', 'number of experts'][i] ?? '', parts }
    })
  const rows = chosen.flatMap((form) =>
    folds.flatMap(({ fold, what, parts }) => {
      const found = parts
        .filter(({ lacking }) => lacking === null)
        .map(({ left, kept }) => {
          const law = lawOf(kept, [form])
          const inside = arms
            .filter((one) => fold(one) === left)
            .map((one) => {
              const { low, high } = forecast(law, one, one.seeds)
              return { isInside: low <= -gainOf(one) && -gainOf(one) <= high, width: high - low }
            })
          const crossings = lines
            .filter((line) => fold({ ...line, tokens: 0 }) === left)
            .map((line) => ({
              measured: measuredBreakEven(line),
              expected: breakEven(law, line).tokens,
              shortest: line.points[0]?.tokens ?? 0,
            }))
          return { inside, crossings }
        })
      if (found.length === 0) return []
      const inside = found.flatMap((one) => one.inside)
      const crossings = found.flatMap((one) => one.crossings)
      const fromStart = crossings.filter(({ measured }) => measured === 0)
      const later = crossings.filter(({ measured }) => measured)
      const isNear = (measured: number | null, expected: number | null) =>
        measured !== null && expected !== null && Math.abs(measured / expected - 1) <= 0.25
      return [
        [
          nameOf(form),
          what,
          `${percent(mean(inside.map(({ isInside }) => Number(isInside))), 0)} of ${inside.length}`,
          fixed(mean(inside.map(({ width }) => width)), 3),
          `${fromStart.filter(({ expected, shortest }) => expected !== null && expected <= shortest).length} of ${fromStart.length}`,
          `${later.filter(({ measured, expected }) => isNear(measured, expected)).length} of ${later.length}`,
        ],
      ]
    }),
  )
  const without = folds.flatMap(({ parts }) =>
    parts.flatMap(({ left, lacking }) =>
      lacking === null ? [] : [`\nWithout ${left} there is no law: it needs at least ${lacking}.`],
    ),
  )
  const table = tableText([['form', 'left out', 'inside', 'width', 'from the start', 'within 25 %'], ...rows], 'llrrrr')
  return `${table}${without.join('')}`
}
