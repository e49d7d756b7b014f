/**
 * The set-up of a study: sizes, steps, tokens and learning rate of its trainings, the settings that each arm changes, and
 * the field that was solved for. A reader of a paper needs them to judge and to repeat a comparison.
 */
import { count, dash, grouped, joinWords, plural } from '../../../../core/text/numbers.ts'
import type { Cell, Table, TextCell } from '../../../report/blocks.ts'
import type { Section } from '../../../report/report.ts'
import type { FinishedRun, Match } from '../../contract.ts'
import { nameOf } from '../../grid/arms.ts'
import type { Settings } from '../../specification.ts'
import { isNotable, mismatchOf, mismatchText, quantityText, solvedText } from '../../text.ts'
import { countCell } from '../numbers.ts'
import type { Runs } from '../runs.ts'
import { flopsPerToken, meanOver, shownBlocks, table } from '../tables.ts'

/** A property of a training, which is in a column if arms differ in it, and otherwise in one line for all arms. */
interface Property {
  readonly title: string
  /** The value with its unit, in the line for all arms. */
  readonly words: (text: string) => string
  /** The settings that it is; they are no longer among the changes of an arm. */
  readonly paths?: readonly string[]
  readonly value: (run: FinishedRun) => number | null
  /** Default: digits in groups of three. */
  readonly text?: (value: number) => string
}

const properties: readonly Property[] = [
  {
    ...{ title: 'Layers', paths: ['model.layers'], words: (text) => `${text} layers` },
    value: ({ config }) => config.model.layers,
  },
  {
    ...{ title: 'Width', paths: ['model.width'], words: (text) => `width ${text}` },
    value: ({ config }) => config.model.width,
  },
  {
    ...{ title: 'Experts', paths: ['model.moe.experts'], words: (text) => `${text} experts a layer` },
    value: ({ config }) => config.model.moe?.experts ?? null,
  },
  {
    ...{ title: 'Active parameters', words: (text) => `${text} active parameters`, text: count },
    value: (run) => run.activeParameters,
  },
  {
    ...{ title: 'Parameters', words: (text) => `${text} parameters`, text: count },
    value: (run) => run.parameters,
  },
  {
    ...{ title: 'Steps', paths: ['train.steps'], words: (text) => `${text} steps` },
    value: ({ config }) => config.train.steps,
  },
  {
    ...{ title: 'Batch', paths: ['train.batch'], words: (text) => `batches of ${text} sequences` },
    value: ({ config }) => config.train.batch,
  },
  {
    ...{ title: 'Sequence', paths: ['model.sequence'], words: (text) => `sequences of ${text} tokens` },
    value: ({ config }) => config.model.sequence,
  },
  {
    ...{ title: 'Training tokens', words: (text) => `${text} training tokens`, text: count },
    value: (run) => run.tokens,
  },
  {
    ...{ title: 'Held-out tokens', words: (text) => `${text} held-out tokens`, text: count },
    value: (run) => run.heldOut.evaluated_tokens,
  },
  {
    ...{ title: 'Learning rate', paths: ['train.schedule.learningRate'], words: (text) => `learning rate ${text}` },
    value: ({ config }) => config.train.schedule.learningRate,
    text: (value) => String(Number(value.toPrecision(4))),
  },
]

/**
 * How the arms were trained: what is common to all in a line, and a table of what differs; null without finished runs. An
 * arm has the values of its first finished run.
 */
export function setUpSection(runs: Runs, arms: readonly string[]): Section | null {
  const known = arms.flatMap((arm) => {
    const [first] = runs.finished(arm)
    return first ? [{ arm, first, seeds: runs.finished(arm).length }] : []
  })
  if (known.length === 0) return null
  const cellsOf = ({ value, text = grouped }: Property) =>
    known.map(({ first }): TextCell => {
      const number = value(first)
      return number === null || !Number.isFinite(number)
        ? { text: dash }
        : { text: text(number), exact: { values: [number] } }
    })
  const shown = properties.map((property) => ({ property, cells: cellsOf(property) }))
  const isCommon = ({ cells }: (typeof shown)[number]) => new Set(cells.map(({ text }) => text)).size === 1
  const common = shown.flatMap((one) => {
    const { text = dash } = one.cells[0] ?? {}
    return isCommon(one) && text !== dash ? [one.property.words(text)] : []
  })
  const counts = new Set(known.map(({ seeds }) => seeds))
  const [seeds = 0] = counts
  return {
    id: 'set-up',
    title: 'Set-up',
    about: '',
    verdicts: [
      `${known.length === 1 ? `The arm ${known[0]?.arm} has` : 'All arms have'} ${joinWords([...common, ...(counts.size === 1 ? [plural(seeds, 'seed')] : [])])}.`,
    ],
    blocks: shownBlocks([
      setUpTable(runs, known, [
        ...shown.filter((one) => !isCommon(one)).map(({ property, cells }) => ({ title: property.title, cells })),
        ...(counts.size === 1 ? [] : [{ title: 'Seeds', cells: known.map((one): TextCell => numberCell(one.seeds)) }]),
      ]),
    ]),
  }
}

const numberCell = (value: number): TextCell => ({ text: grouped(value), exact: { values: [value] } })

interface Column {
  readonly title: string
  readonly cells: readonly TextCell[]
}

/** What each arm changes, and the properties in which arms differ. */
function setUpTable(
  runs: Runs,
  known: readonly { readonly arm: string }[],
  differing: readonly Column[],
): Table | null {
  const { matches, arms: settings } = runs.results
  const own = properties.flatMap(({ paths = [] }) => paths)
  const changesOf = (arm: string) =>
    changes(Object.fromEntries(Object.entries(settings[arm] ?? {}).filter(([path]) => !own.includes(path))), paths)
  const paths = [...new Set(Object.values(settings).flatMap(Object.keys))]
  const arms = known.map(({ arm }) => arm)
  // An arm of a grid has the name of its settings.
  const named = arms.every((arm) => nameOf(settings[arm] ?? {}) === arm) || arms.every((arm) => changesOf(arm) === dash)
  const solved = (arm: string) => matches.find((match) => match.arm === arm)
  const matched = arms.some(solved)
  const rows = arms.map((arm, i): Cell[] => [
    runs.label(arm),
    ...(named ? [] : [changesOf(arm)]),
    ...differing.map(({ cells }) => cells[i] ?? dash),
    countCell(meanOver(runs.finished(arm), flopsPerToken)),
    ...(matched ? matchCells(solved(arm)) : []),
  ])
  const words = [
    ...(named ? [] : [' Changes: other settings that the arm does not share with all arms.']),
    ...(differing.some(({ title }) => title === 'Active parameters')
      ? [' Active parameters: those that a token uses.']
      : []),
    ' FLOPs a token: of training; dropped assignments do not count.',
    ...(matched
      ? [
          ' Matched: the field that the study solved for, and the quantity that is as near as possible to that of the other arm (if nothing is dropped). Mismatch: the difference that remains.',
        ]
      : []),
    ...(matches.some((match) => arms.includes(match.arm) && isNotable(match))
      ? [' ≠: it is more than 1 %, so a difference in loss may be due to it.']
      : []),
  ]
  const columns = [
    'Arm',
    ...(named ? [] : ['Changes']),
    ...differing.map(({ title }) => title),
    'FLOPs a token',
    ...(matched ? ['Matched', 'Mismatch, %'] : []),
  ]
  return table(
    'arms',
    `What differs between the arms.${words.join('')}`,
    columns,
    rows,
    columns.flatMap((title, i) => (['Arm', 'Changes', 'Matched'].includes(title) ? [i] : [])),
  )
}

/** Settings of an arm in words: `dense, hidden=344`. */
function changes({ 'model.moe': moe, ...settings }: Settings, paths: readonly string[]): string {
  const shown = Object.fromEntries(Object.entries(settings).map(([path, value]) => [path, value ?? 'none']))
  const words = nameOf(shown, paths)
  return [...(moe === null ? ['dense'] : []), ...(words === '' ? [] : [words])].join(', ') || dash
}

/** The solved field with its quantity, and the mismatch, which programs get in per cent. */
function matchCells(match: Match | undefined): readonly [matched: Cell, mismatch: Cell] {
  if (match === undefined) return [dash, dash]
  const marked = isNotable(match)
  return [
    { text: solvedText(match), note: `${quantityText(match.equal, match.reached)}, as ${match.of}` },
    {
      text: `${mismatchText(match).replace(' %', '')}${marked ? ' ≠' : ''}`,
      exact: { values: [100 * mismatchOf(match)] },
      ...(marked && { tone: 'open' }),
    },
  ]
}
