/** The table of arms: the settings that each arm changes, its parameters and FLOPs, and the field that was solved for. */
import { dash } from '../../../../core/text/numbers.ts'
import type { Cell, Table } from '../../../report/blocks.ts'
import type { Match, Settings } from '../../contract.ts'
import { nameOf } from '../../grid/arms.ts'
import { isNotable, mismatchOf, mismatchText, quantityText, solvedText } from '../../match-text.ts'
import { countCell } from '../numbers.ts'
import type { Runs } from '../runs.ts'
import { flopsPerToken, meanOver, table } from '../tables.ts'

/** What each arm changes and how large it is; null without finished runs. */
export function armSizes(runs: Runs, arms: readonly string[]): Table | null {
  const { matches, arms: settings } = runs.results
  // An arm of a grid has the name of its settings.
  const named = arms.every((arm) => nameOf(settings[arm] ?? {}) === arm)
  const paths = [...new Set(Object.values(settings).flatMap(Object.keys))]
  const changesOf = (arm: string) => changes(settings[arm] ?? {}, paths)
  const solved = (arm: string) => matches.find((match) => match.arm === arm)
  const matched = arms.some(solved)
  const rows = arms.flatMap((arm): Cell[][] => {
    const finished = runs.finished(arm)
    if (finished.length === 0) return []
    return [
      [
        runs.label(arm),
        ...(named ? [] : [changesOf(arm)]),
        countCell(meanOver(finished, (run) => run.activeParameters)),
        countCell(meanOver(finished, (run) => run.parameters)),
        countCell(meanOver(finished, flopsPerToken)),
        ...(matched ? matchCells(solved(arm)) : []),
      ],
    ]
  })
  const words = [
    ...(named ? [] : [' Changes: settings that the arm does not share with all arms.']),
    ' Active parameters: those that a token uses. FLOPs a token: of training; dropped assignments do not count.',
    ...(matched
      ? [
          ' Matched: the field that the study solved for, and the quantity that is as near as possible to that of the other arm (if nothing is dropped). Mismatch: the difference that remains.',
        ]
      : []),
    ...(matches.some((match) => arms.includes(match.arm) && isNotable(match))
      ? [' ≠: it is more than 1 %, so a difference in loss may be due to it.']
      : []),
  ]
  return table(
    `Settings and sizes of all arms.${words.join('')}`,
    [
      'Arm',
      ...(named ? [] : ['Changes']),
      'Active parameters',
      'Parameters',
      'FLOPs a token',
      ...(matched ? ['Matched', 'Mismatch, %'] : []),
    ],
    rows,
    named ? [0, 4] : [0, 1, 5],
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
