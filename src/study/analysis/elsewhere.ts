/**
 * The same differences on other text than the study trained on. What a study finds on its held-out text
 * may be a matter of that text; a difference that is there again on another is worth more.
 */
import type { Section } from '../../report/index.ts'
import type { Contrast } from '../contract.ts'
import { type Estimate, estimateMean, holm } from '../statistics.ts'
import { compareAll } from './comparison.ts'
import { dash, fixed, plural, withInterval } from './numbers.ts'
import { joined } from './routing.ts'
import type { Runs } from './runs.ts'
import { present, table } from './tables.ts'

interface Row {
  readonly contrast: Contrast
  readonly here: Estimate | null
  /** By source; null: no pair. */
  readonly there: readonly (Estimate | null)[]
}

export function elsewhereSection(runs: Runs): Section | null {
  const contrasts = joined(
    [],
    runs.results.questions.flatMap((question) => question.contrasts),
  )
  const sources = sourcesOf(runs)
  if (sources.length === 0) return null
  const rows = compareAll(runs, contrasts)
    .map(({ arm, baseline, pairs, estimate }): Row => {
      const there = sources.map((source) =>
        estimateMean(
          pairs
            .map(
              (pair) =>
                (pair.arm.elsewhere[source]?.loss ?? Number.NaN) -
                (pair.baseline.elsewhere[source]?.loss ?? Number.NaN),
            )
            .filter(Number.isFinite),
        ),
      )
      return { contrast: { arm, baseline }, here: estimate, there }
    })
    .filter(({ there }) => there.some((estimate) => estimate !== null))
  return {
    id: 'elsewhere',
    title: 'On other text',
    about:
      'The runs evaluated on text that they were not trained on, without further training: arm minus baseline by seed, as before.',
    verdicts: sources.map((source, i) => again(source, rows, i)),
    blocks: present([
      table(
        'Difference in loss, arm minus baseline by seed, nats a token, with its 95 % interval; negative is better.',
        ['Arm', 'Baseline', 'Held-out text', ...sources],
        rows.map(({ contrast, here, there }) => [
          contrast.arm,
          contrast.baseline,
          withInterval(here),
          ...there.map((estimate) => (estimate === null ? dash : withInterval(estimate))),
        ]),
      ),
    ]),
  }
}

function sourcesOf(runs: Runs): string[] {
  const { cells } = runs.results
  return [
    ...new Set(cells.flatMap(({ record }) => (record?.status === 'finished' ? Object.keys(record.elsewhere) : []))),
  ]
}

const clear = (estimate: Estimate | null): boolean =>
  estimate?.interval ? estimate.interval[0] > 0 || estimate.interval[1] < 0 : false

function again(source: string, rows: readonly Row[], index: number): string {
  const pairs = rows.flatMap(({ here, there }) => {
    const other = there[index]
    return here?.interval && other?.interval ? [{ here, other }] : []
  })
  if (pairs.length === 0) return `On ${source}: not enough runs yet.`
  const firm = holm(pairs.map(({ other }) => other.p ?? 1)).filter((p) => p < 0.05).length
  const seen = pairs.filter(({ here }) => clear(here))
  const kept = seen.filter(({ here, other }) => clear(other) && Math.sign(here.mean) === Math.sign(other.mean))
  const opposite = seen.filter(({ here, other }) => clear(other) && Math.sign(here.mean) !== Math.sign(other.mean))
  const repeat =
    seen.length === 0
      ? 'no comparison had an interval clear of nought on the held-out text'
      : `of ${plural(seen.length, 'comparison')} with an interval clear of nought on the held-out text, ${kept.length || 'none'} ${kept.length > 1 ? 'have' : 'has'} one on the same side here${opposite.length > 0 ? ` and ${opposite.length} on the other side` : ''}`
  return `On ${source}: ${repeat}. ${firm} of ${plural(pairs.length, 'comparison')} here ${firm === 1 ? 'survives' : 'survive'} Holm's correction; about ${fixed(0.05 * pairs.length, 2)} would show a difference by chance.`
}
