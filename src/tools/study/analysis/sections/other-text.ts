/**
 * The differences of all contrasts on text from other sources. A difference on the study's own held-out text may
 * depend on that text; a difference that reappears on another text is worth more.
 */

import { plural } from '../../../../core/text/numbers.ts'
import type { Section } from '../../../report/report.ts'
import type { Contrast } from '../../contract.ts'
import { otherTextsOf } from '../../held-out.ts'
import { type Estimate, estimateMean } from '../../statistics.ts'
import { compareAll } from '../comparison.ts'
import { digitsOfColumn, estimateCell } from '../numbers.ts'
import { signOf } from '../outcome.ts'
import type { Runs } from '../runs.ts'
import { footnotes, shownBlocks, table } from '../tables.ts'
import { distinctContrasts } from './routing.ts'

interface Row {
  readonly contrast: Contrast
  readonly heldOut: Estimate | null
  /** The difference on each source; null without a pair. */
  readonly onOther: readonly (Estimate | null)[]
}

export function otherTextSection(runs: Runs): Section | null {
  const contrasts = distinctContrasts(runs.results.questions.flatMap((question) => question.contrasts))
  const sources = otherTextsOf(runs.results)
  if (sources.length === 0) return null
  const rows = compareAll(runs, contrasts)
    .map(({ arm, baseline, pairs, intervals, estimate }): Row => {
      const onOther = sources.map((source) =>
        estimateMean(
          pairs
            .map(
              (pair) =>
                (pair.arm.elsewhere[source]?.loss ?? Number.NaN) -
                (pair.baseline.elsewhere[source]?.loss ?? Number.NaN),
            )
            .filter(Number.isFinite),
          intervals,
        ),
      )
      return { contrast: { arm, baseline }, heldOut: estimate, onOther }
    })
    .filter(({ onOther }) => onOther.some((estimate) => estimate !== null))
  const digits = digitsOfColumn(rows.flatMap(({ heldOut, onOther }) => [heldOut, ...onOther]))
  return {
    id: 'elsewhere',
    title: 'On other text',
    about: 'The same runs, evaluated on text from another source without further training.',
    verdicts: sources.map((source, i) => verdictOn(source, rows, i)),
    blocks: shownBlocks([
      table(
        'differences',
        `Difference in loss, arm minus baseline by seed, nats a token, with its 95 % interval; negative is better.${footnotes(
          runs,
          contrasts.flatMap(({ arm, baseline }) => [arm, baseline]),
        )}`,
        ['Arm', 'Held-out text', ...sources],
        rows.map(({ contrast, heldOut, onOther }) => [
          { text: runs.label(contrast.arm), note: `against ${runs.label(contrast.baseline)}` },
          estimateCell(heldOut, digits),
          ...onOther.map((estimate) => estimateCell(estimate, digits)),
        ]),
      ),
    ]),
  }
}

function verdictOn(source: string, rows: readonly Row[], index: number): string {
  const pairs = rows.flatMap(({ heldOut, onOther }) => {
    const other = onOther[index]
    return heldOut?.interval && other?.interval ? [{ heldOut, other }] : []
  })
  if (pairs.length === 0) return `On ${source}: not enough runs yet.`
  const found = pairs.filter(({ heldOut }) => signOf(heldOut) !== 0)
  const same = (sign: 1 | -1) => found.filter(({ heldOut, other }) => signOf(other) === sign * signOf(heldOut)).length
  const opposite = same(-1) === 0 ? '' : `, ${same(-1)} with the opposite sign`
  return `On ${source}: of ${plural(found.length, 'contrast')} whose interval excludes zero on the held-out text, ${same(1)} reappear with the same sign${opposite}, before Holm's correction.`
}
