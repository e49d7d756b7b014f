/**
 * The same differences on other text than the study trained on. What a study finds on its held-out text
 * may be a matter of that text; a difference that is there again on another is worth more.
 */
import type { Section } from '../../../report/report.ts'
import { plural } from '../../../text/numbers.ts'
import type { Contrast } from '../../contract.ts'
import { type Estimate, estimateMean } from '../../statistics.ts'
import { compareAll } from '../comparison.ts'
import { digitsOfAll, estimateCell } from '../numbers.ts'
import type { Runs } from '../runs.ts'
import { footnotes, present, table } from '../tables.ts'
import { distinct } from './routing.ts'

interface Row {
  readonly contrast: Contrast
  readonly here: Estimate | null
  /** By source; null: no pair. */
  readonly there: readonly (Estimate | null)[]
}

export function elsewhereSection(runs: Runs): Section | null {
  const contrasts = distinct(runs.results.questions.flatMap((question) => question.contrasts))
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
  const digits = digitsOfAll(rows.flatMap(({ here, there }) => [here, ...there]))
  return {
    id: 'elsewhere',
    title: 'On other text',
    about:
      'The runs evaluated on text that they were not trained on, without further training: arm minus baseline by seed, as before.',
    verdicts: sources.map((source, i) => again(source, rows, i)),
    blocks: present([
      table(
        `Difference in loss, arm minus baseline by seed, nats a token, with its 95 % interval; negative is better.${footnotes(
          runs,
          contrasts.flatMap(({ arm, baseline }) => [arm, baseline]),
        )}`,
        ['Arm', 'Held-out text', ...sources],
        rows.map(({ contrast, here, there }) => [
          { text: runs.label(contrast.arm), note: `against ${runs.label(contrast.baseline)}` },
          estimateCell(here, digits),
          ...there.map((estimate) => estimateCell(estimate, digits)),
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
  const seen = pairs.filter(({ here }) => clear(here))
  const same = (sign: 1 | -1) =>
    seen.filter(({ here, other }) => clear(other) && Math.sign(here.mean) === sign * Math.sign(other.mean)).length
  const opposite = same(-1) === 0 ? '' : `, ${same(-1)} on the other side`
  return `On ${source}: of ${plural(seen.length, 'contrast')} clear of zero on the held-out text, ${same(1)} lie clear of it on the same side${opposite}, before Holm's correction.`
}
