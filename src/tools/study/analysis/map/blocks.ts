/**
 * The map: where experts begin to pay. Each size has a figure of the gain over the dense model against tokens for each
 * active parameter, with one line for each number of experts. Then come the tokens of break-even, measured and by the
 * law, and the law itself.
 */
import { groups } from 'd3-array'
import { count, fixed, joinWords, plural, significant } from '../../../../core/text/numbers.ts'
import { isGain } from '../../../law/centred-law.ts'
import { type BreakEven, breakEven } from '../../../law/forecast.ts'
import type { Coefficients } from '../../../law/joint-law.ts'
import type { Law } from '../../../law/law.ts'
import type { Block, Cell, LineFigure, Table } from '../../../report/blocks.ts'
import type { Question } from '../../contract.ts'
import { anytimeNote, countCell, estimateCell } from '../numbers.ts'
import type { Runs } from '../runs.ts'
import { slug, table } from '../tables.ts'
import { clearFrom, linesOf, type MapLine, type MapPoint, measuredBreakEven } from './measured.ts'
import { pairsOf } from './pairs.ts'
import { studyLaw } from './study-law.ts'

export function mapBlocks(runs: Runs, question: Question): readonly (Block | null)[] {
  const lines = linesOf(pairsOf(runs, question))
  const law = studyLaw(runs.results)?.law ?? null
  const numbers = [...new Set(lines.map(({ experts }) => experts))].sort((a, b) => a - b)
  return [
    ...groups(lines, ({ active }) => active).map(([active, own]) => figure(question.id, active, own, numbers)),
    breakEvenTable(lines, law),
    ...(law && isLast(runs, question) ? [formTable(law), coefficientTable(law)] : []),
  ]
}

/** Whether a question is the last map: one law is fitted to all maps of a study, and the last map shows it. */
const isLast = ({ results: { questions } }: Runs, { id }: Question): boolean =>
  questions.findLast(({ view }) => view === 'map')?.id === id

/** Sentences about where experts pay, and about what is missing for a law or left out of it. */
export function mapSentences(runs: Runs, question: Question): string[] {
  const lines = linesOf(pairsOf(runs, question))
  const found = isLast(runs, question) ? studyLaw(runs.results) : null
  const sentences = groups(lines, ({ active }) => active).map(([active, own]) => sizeSentence(active, own))
  return [
    ...(sentences.length > 0
      ? sentences
      : ['No run with experts has a dense run of the same size, tokens and seed yet.']),
    ...(found?.lacking ? [`There is no law yet: it needs at least ${found.lacking}.`] : []),
    ...(found && found.elsewhere > 0
      ? [`The law leaves out ${plural(found.elsewhere, 'pair')} of runs that were trained on other text.`]
      : []),
    ...(found && found.tooShort > 0
      ? [
          `The law leaves out ${plural(found.tooShort, 'pair')} of runs whose warm-up takes over a fifth of their steps.`,
        ]
      : []),
  ]
}

/** Which numbers of experts pay at a size by the mean over seeds, and which by their intervals. */
function sizeSentence(active: number, lines: readonly MapLine[]): string {
  const paying = lines.filter((line) => measuredBreakEven(line) !== null).length
  const longest = Math.max(...lines.flatMap(({ points }) => points.map(({ tokens }) => tokens)))
  const size = `With ${count(active)} active parameters`
  if (paying === 0)
    return `${size}, no number of experts pays within ${count(longest)} tokens (${ratio(longest, active)} for each parameter) by the mean over seeds.`
  const which = `${paying} of ${plural(lines.length, 'number')} of experts ${paying === 1 ? 'pays' : 'pay'} within ${count(longest)} tokens by the mean over seeds`
  const clear = lines.flatMap((line) => {
    const tokens = clearFrom(line)
    return tokens === null ? [] : [{ experts: line.experts, tokens }]
  })
  if (clear.length === 0)
    return `${size}, ${which}; ${paying === 1 ? 'it has no' : 'none of them has an'} interval below zero after the longest training.`
  const from = Math.min(...clear.map(({ tokens }) => tokens))
  const first = clear.filter(({ tokens }) => tokens === from).map(({ experts }) => experts)
  const experts = joinWords([...first.slice(0, -1).map(String), plural(first.at(-1) ?? 0, 'expert')])
  const surely =
    clear.length > first.length
      ? `with ${clear.length} of them the intervals are below zero to the end, first with ${experts}`
      : `with ${experts} the intervals are below zero`
  return `${size}, ${which}; ${surely} from ${count(from)} tokens on (${ratio(from, active)} for each parameter).`
}

const ratio = (tokens: number, active: number): string => significant(tokens / active)

/** @param numbers numbers of experts in all figures of the map: each has one colour */
function figure(id: string, active: number, lines: readonly MapLine[], numbers: readonly number[]): LineFigure {
  const ratios = lines.flatMap(({ points }) => points.map(({ tokens }) => tokens / active))
  const ends = [Math.min(...ratios), Math.max(...ratios)]
  return {
    kind: 'figure',
    id: slug(`${id}-map-${count(active)}`),
    caption: `Gain of experts with ${count(active)} active parameters (without the table of token embeddings): held-out loss of the dense model minus that with experts, without a limit of capacity, by the length of training. Above zero, experts pay. Dots on the line of the dense model: break-even. Bands: 95 % intervals over seeds.${intervalNote(lines.flatMap(({ points }) => points))}`,
    form: 'lines',
    x: { label: 'tokens for each active parameter', scale: 'log' },
    y: { label: 'gain over dense, nats a token', scale: 'linear' },
    series: [
      { name: 'dense', x: ends, y: [0, 0], mark: 0 },
      ...lines.map((line) => {
        const tokens = measuredBreakEven(line)
        const intervals = line.points.map(({ estimate }) => estimate.interval)
        const end = (i: 0 | 1) => intervals.map((interval) => interval && -interval[i])
        return {
          name: plural(line.experts, 'expert'),
          x: line.points.map((point) => point.tokens / active),
          y: line.points.map(({ estimate }) => -estimate.mean),
          ...(intervals.some((interval) => interval) && { low: end(1), high: end(0) }),
          ...(tokens && { dots: [{ x: tokens / active, y: 0 }] }),
          mark: 1 + numbers.indexOf(line.experts),
        }
      }),
    ],
  }
}

function breakEvenTable(lines: readonly MapLine[], law: Law | null): Table | null {
  return table(
    'break-even',
    `Break-even: tokens from which on experts have a lower loss than the dense model. Measured: by the mean over seeds, interpolated between lengths of training; clear from: the shortest length from which on all 95 % intervals are below zero${law ? '; by the law: with its 80 % interval, within a factor of 8 of the trained lengths' : ''}. Below them, tokens for each active parameter. Longest: the difference in loss, arm minus dense, after the longest training.${intervalNote(lines.flatMap(({ points }) => points.at(-1) ?? []))}`,
    [
      'Active',
      'Experts',
      'All parameters',
      'Seeds',
      'Measured',
      'Clear from',
      ...(law ? ['By the law'] : []),
      'Longest',
      'Difference',
    ],
    lines.map((line): Cell[] => {
      const { active, experts, parameters, points } = line
      const last = points.at(-1)
      return [
        countCell(active),
        String(experts),
        countCell(parameters),
        String(last?.estimate.n ?? 0),
        tokensCell(measuredBreakEven(line), active),
        tokensCell(clearFrom(line), active),
        ...(law ? [lawCell(breakEven(law, line), active)] : []),
        countCell(last?.tokens),
        estimateCell(last?.estimate ?? null),
      ]
    }),
  )
}

/** Explains the intervals of points if some are anytime. */
const intervalNote = (points: readonly MapPoint[]): string =>
  anytimeNote(points.map(({ estimate }) => estimate).filter(({ interval }) => interval))

const tokensText = (tokens: number | null): string =>
  tokens === null ? 'not reached' : tokens === 0 ? 'from the start' : count(tokens)

const tokensCell = (tokens: number | null, active: number): Cell =>
  tokens ? { text: count(tokens), note: ratio(tokens, active), exact: { values: [tokens] } } : tokensText(tokens)

const lawCell = ({ tokens, low, high }: BreakEven, active: number): Cell => ({
  text: tokens ? `${count(tokens)} (${ratio(tokens, active)})` : tokensText(tokens),
  note: `${tokensText(low)} to ${high === null ? 'beyond' : tokensText(high)}`,
  exact: { values: [tokens], interval: [low, high] },
})

/** Forms of the law, the chosen form first. */
function formTable({ compared, form }: Law): Table | null {
  const isChosen = (other: Law['form']) => JSON.stringify(other) === JSON.stringify(form)
  const words = {
    none: 'Ê = E',
    start: 'Ê from a start',
    both: 'Ê from a start to a maximum',
    gain: 'gain',
    limited: 'limited gain',
  }
  const nameOf = (one: Law['form']) =>
    `${words[one.transform]}${isGain(one) ? '' : `; γ ${one.gamma ? 'fitted' : '0'}, ζ ${one.zeta ? 'fitted' : '0'}`}`
  return table(
    'forms',
    'Forms of the law L = a·Ê^δ·N^(α + γ·ln Ê) + b·Ê^ω·D^(β + ζ·ln Ê) + c (Ludziejewski et al. 2025, arXiv 2502.05172), N active parameters, D tokens, Ê the transform of the number of experts E by Clark et al. (2022). Gain: L = a·N^α + b·D^β + c − κ·ln E·N^ν·max(0, ln(D/onset)), in which experts never cost loss. Limited gain: Ê in place of E, with the start 1 and a maximum that grows with the tokens for each active parameter, 1 + share·D/N. Error: root mean square of predicted minus measured differences to dense, when each size in turn is left out of the fit. The smallest form whose error is at most a tenth above the least is used.',
    ['Form', 'Coefficients', 'Error, nats a token'],
    compared
      .toSorted((a, b) => Number(isChosen(b.form)) - Number(isChosen(a.form)) || a.error - b.error)
      .map((one): Cell[] => [
        `${isChosen(one.form) ? 'used: ' : ''}${nameOf(one.form)}`,
        String(one.coefficients),
        fixed(one.error, 4),
      ]),
  )
}

/** Coefficients that only one of the two kinds of forms has. */
const ofTerms = new Set<keyof Coefficients>(['delta', 'gamma', 'omega', 'zeta', 'start', 'max'])
const ofGain = new Set<keyof Coefficients>(['kappa', 'nu', 'onset', 'share'])
const symbols: readonly (readonly [symbol: string, coefficient: keyof Coefficients])[] = [
  ['a', 'a'],
  ['α', 'alpha'],
  ['δ', 'delta'],
  ['γ', 'gamma'],
  ['b', 'b'],
  ['β', 'beta'],
  ['ω', 'omega'],
  ['ζ', 'zeta'],
  ['c', 'c'],
  ['start', 'start'],
  ['max', 'max'],
  ['κ', 'kappa'],
  ['ν', 'nu'],
  ['onset', 'onset'],
  ['share', 'share'],
]

function coefficientTable({ form, coefficients, sizes, experts, residuals }: Law): Table | null {
  const unused = isGain(form) ? ofTerms : ofGain
  const own = symbols.filter(([, name]) => !unused.has(name))
  const ranges = sizes.map(
    ({ active, tokens, seeds }) =>
      `${count(active)} with ${count(tokens[0])} to ${count(tokens[1])} tokens (${plural(seeds, 'seed')})`,
  )
  return table(
    'law',
    `The law. It holds for ${joinWords(ranges)} and ${joinWords(experts.map(String))} experts. With few sizes, coefficients compensate each other: the predictions are what was tested, not the coefficients. Weak priors keep those that the runs do not determine near the published ones. Arms that were left out of the fit are missed by ${fixed(residuals.leftOutArm, 4)} nats a token, sizes by ${fixed(residuals.leftOutSize, 4)} (root mean squares, the noise of the seeds included).`,
    own.map(([symbol]) => symbol),
    [
      own.map(([, name]) => {
        const value = coefficients[name]
        if (value === null) return 'none'
        if (name === 'onset') return count(value)
        return value === 0 ? '0' : value.toPrecision(4).replace('-', '−')
      }),
    ],
    0,
  )
}
