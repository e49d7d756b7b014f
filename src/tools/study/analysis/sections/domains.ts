/**
 * Differences by domain of the held-out text: the files or folders that the text consists of. An arm that is better on
 * the whole may be better on one kind of text only.
 */

import { fixed, joinWords, percent, plural } from '../../../../core/text/numbers.ts'
import type { Block, Cell } from '../../../report/blocks.ts'
import type { Section } from '../../../report/report.ts'
import type { FinishedRun } from '../../contract.ts'
import { type Estimate, estimateMean } from '../../statistics.ts'
import { contrastText } from '../claims/effects.ts'
import { type Comparison, compareAll } from '../comparison.ts'
import { countCell, digitsOfColumn, estimateCell } from '../numbers.ts'
import { signOf } from '../outcome.ts'
import { mainBaseline, type Runs } from '../runs.ts'
import { footnotes, meanOver, shownBlocks, table } from '../tables.ts'
import { distinctContrasts } from './routing.ts'

/** Number of domains beside each other in a table, so that it fits a page. */
const COLUMNS = 6

interface Row {
  readonly comparison: Comparison
  /** The difference in each domain; null without a pair. */
  readonly byDomain: readonly (Estimate | null)[]
}

/** The section of domains; null for a text without several domains. */
export function domainSection(runs: Runs): Section | null {
  const contrasts = distinctContrasts(runs.results.questions.flatMap((question) => question.contrasts))
  const evaluated = contrasts.flatMap((contrast) => runs.pairs(contrast)).flatMap(({ baseline }) => baseline)
  const names = [...new Set(evaluated.flatMap(({ heldOut }) => heldOut.domains ?? []).map(({ name }) => name))]
  if (names.length < 2) return null
  const rows = compareAll(runs, contrasts)
    .map((comparison): Row => ({ comparison, byDomain: names.map((name) => differenceIn(comparison, name)) }))
    .filter(({ byDomain }) => byDomain.some((estimate) => estimate !== null))
  return {
    id: 'domains',
    title: 'By domain',
    about: 'The same held-out evaluation by the file or folder that a document is from.',
    verdicts: [verdict(runs, names, rows)],
    blocks: shownBlocks([textTable(runs, evaluated, names), ...differenceTables(runs, names, rows)]),
  }
}

const domainOf = ({ heldOut }: FinishedRun, name: string) => heldOut.domains?.find((domain) => domain.name === name)

/** The loss in a domain, at the capacity of the `Runs` from which `run` was read. */
const lossIn = (run: FinishedRun, name: string): number =>
  domainOf(run, name)?.losses[run.heldOut.capacity] ?? Number.NaN

const differenceIn = ({ pairs, intervals }: Comparison, name: string): Estimate | null =>
  estimateMean(
    pairs.map(({ arm, baseline }) => lossIn(arm, name) - lossIn(baseline, name)).filter(Number.isFinite),
    intervals,
  )

/** The domains, with the loss of the baseline that most contrasts have. */
function textTable(runs: Runs, evaluated: readonly FinishedRun[], names: readonly string[]): Block | null {
  const baseline = mainBaseline(runs.results.questions.flatMap((question) => question.contrasts)) ?? ''
  const tokensOf = (name: string) =>
    meanOver(evaluated, (run) => domainOf(run, name)?.evaluated_tokens ?? Number.NaN) ?? 0
  const all = names.reduce((sum, name) => sum + tokensOf(name), 0)
  return table(
    'domains',
    `Domains of the held-out text: tokens, share of all, and the loss of ${runs.label(baseline)}, mean over seeds, nats a token.`,
    ['Domain', 'Tokens', 'Share', 'Loss'],
    names.map((name) => [
      name,
      countCell(tokensOf(name)),
      percent(tokensOf(name) / all),
      fixed(
        meanOver(runs.finished(baseline), (run) => lossIn(run, name)),
        3,
      ),
    ]),
  )
}

function differenceTables(runs: Runs, names: readonly string[], rows: readonly Row[]): (Block | null)[] {
  const digits = digitsOfColumn(rows.flatMap(({ comparison, byDomain }) => [comparison.estimate, ...byDomain]))
  const arms = rows.flatMap(({ comparison: { arm, baseline } }) => [arm, baseline])
  const parts = Array.from({ length: Math.ceil(names.length / COLUMNS) }, (_, i) => i * COLUMNS)
  return parts.map((from) =>
    table(
      'differences',
      `Difference in loss, arm minus baseline by seed, nats a token, with its 95 % interval over seeds; negative is better.${footnotes(runs, arms)}`,
      ['Arm', 'All', ...names.slice(from, from + COLUMNS)],
      rows.map(({ comparison, byDomain }): Cell[] => [
        { text: runs.label(comparison.arm), note: `against ${runs.label(comparison.baseline)}` },
        estimateCell(comparison.estimate, digits),
        ...byDomain.slice(from, from + COLUMNS).map((estimate) => estimateCell(estimate, digits)),
      ]),
    ),
  )
}

function verdict(runs: Runs, names: readonly string[], rows: readonly Row[]): string {
  const found = rows.filter(({ comparison }) => signOf(comparison.estimate) !== 0)
  if (!rows.some(({ comparison }) => comparison.estimate?.interval)) return 'Not enough runs yet.'
  const turned = found.flatMap(({ comparison, byDomain }) => {
    const against = names.filter((_, i) => signOf(byDomain[i] ?? null) === -signOf(comparison.estimate))
    return against.length > 0 ? [`${contrastText(runs, comparison)} (on ${joinWords(against)})`] : []
  })
  const everywhere = found.filter(({ comparison, byDomain }) =>
    byDomain.every((estimate) => signOf(estimate) === signOf(comparison.estimate)),
  )
  const opposite =
    turned.length === 0
      ? 'none has the opposite sign in a domain'
      : `the opposite sign is found in ${joinWords(turned.slice(0, 3))}${turned.length > 3 ? ` and ${turned.length - 3} more` : ''}`
  return `Of ${plural(found.length, 'contrast')} whose interval excludes zero on the whole text, ${everywhere.length} ${everywhere.length === 1 ? 'does' : 'do'} so with the same sign in every domain; ${opposite}, before Holm's correction.`
}
