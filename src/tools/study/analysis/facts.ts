/** The facts at the top of a report (runs, model, text, pilot and machine), and the section of missing runs. */

import { count, dash, fixed, plural } from '../../../core/text/numbers.ts'
import { namesIn, nounOf } from '../../../node/run/plugins/kinds.ts'
import type { Section } from '../../report/report.ts'
import type { FinishedRun, Pilot, StudyResults } from '../contract.ts'
import { changesSince, NUMERICS } from '../grid/numerics.ts'
import type { Runs } from './runs.ts'
import { shownBlocks, table } from './tables.ts'

export function factsOf(runs: Runs): string[] {
  const { cells, seeds, machine, pilot } = runs.results
  const branches = runs.shares.length > 1 ? `, ${runs.shares.length} branches (complete runs of fewer steps)` : ''
  const done = cells.flatMap(({ record }) => (record?.status === 'finished' ? [record] : []))
  const failed = cells.filter(({ record }) => record?.status === 'failed').length
  const missing = cells.length - done.length - failed
  const rest = [...(failed > 0 ? [`${failed} failed`] : []), ...(missing > 0 ? [`${missing} not run yet`] : [])]
  return [
    `${done.length} of ${plural(cells.length, 'run')} done${rest.length > 0 ? ` (${rest.join(', ')})` : ''}: ${plural(new Set(cells.map(({ arm }) => arm)).size, 'arm')} (settings to compare), ${plural(seeds.length, 'seed')} (${seeds.join(', ')})${branches}`,
    ...(done.length > 0
      ? [
          `Model: ${span(done, (run) => run.parameters)} parameters, ${span(done, (run) => run.activeParameters)} of them active (used by a token)`,
          `Training tokens of a run: ${span(done, (run) => run.tokens)}`,
          `Text: ${textOf(done)}`,
        ]
      : []),
    ...(pilot ? [pilotText(pilot)] : []),
    ...intervalFacts(runs),
    ...machine.split('\n').flatMap((line) => (line.trim() === '' ? [] : [`Machine: ${line.trim()}`])),
    ...computedBy(done),
    ...[...new Set(done.map(({ version }) => version))].flatMap((version) =>
      version < NUMERICS
        ? [
            `Computed by an older program (numerics ${version} of ${NUMERICS}); not to be compared with newer results. Since then these changed: ${changesSince(version)}`,
          ]
        : [],
    ),
    ...(new Set(done.map((run) => run.machine)).size > 1
      ? [
          'Machines round differently: a difference between runs of two machines contains that noise too, and their training times are not compared',
        ]
      : []),
  ]
}

/** Version of the program, engines, and parts of the user's own with their hashes: with these the runs can be repeated. */
function computedBy(done: readonly FinishedRun[]): string[] {
  const sortedNames = (values: readonly string[]) => [...new Set(values)].filter((value) => value !== '').sort()
  const list = (values: readonly (string | undefined)[]) =>
    sortedNames(values.flatMap((value) => value?.split('; ') ?? []))
  const [programs, engines] = [list(done.map(({ program }) => program)), list(done.map(({ engine }) => engine))]
  const parts = sortedNames(
    done.flatMap(({ config }) => namesIn(config).map(({ kind, id }) => `${nounOf(kind)} ${id}`)),
  )
  return [
    ...(programs.length > 0 ? [`Program: Choir ${programs.join(', ')}`] : []),
    ...(engines.length > 0 ? [`Engine: ${engines.join('; ')}`] : []),
    ...(parts.length > 0 ? [`Parts of its own, each with the hash of its file: ${parts.join(', ')}`] : []),
  ]
}

/** A fact about the intervals over seeds, if some of them hold at every look. */
function intervalFacts(runs: Runs): string[] {
  const arms = new Set(runs.results.cells.map(({ arm }) => arm))
  const open = [...arms].filter((arm) => runs.intervalsFor([arm]) === 'anytime').length
  if (open === 0) return []
  const which =
    runs.results.intervals === 'anytime'
      ? 'as the study asks'
      : `where arms with missing runs are compared (${open} of ${plural(arms.size, 'arm')})`
  return [
    `Intervals over seeds are anytime-valid ${which}: they hold however often one looks while seeds arrive, and are wider than the intervals of a fixed number of seeds`,
  ]
}

const pilotText = ({ arm, baseline, differences, deviation, seeds, detectable }: Pilot): string =>
  `Pilot: over ${plural(differences.length, 'seed')}, the difference in loss between ${arm} and ${baseline} has a standard deviation of ${fixed(deviation, 4)} nats a token; with ${plural(seeds, 'seed')}, a true difference of ${fixed(detectable, 4)} is found four times in five`

/** The range of a value over runs: `4.12 M`, or `1.10 M to 4.12 M`. */
function span(runs: readonly FinishedRun[], value: (run: FinishedRun) => number): string {
  const values = runs.map(value).filter(Number.isFinite)
  if (values.length === 0) return dash
  const [low, high] = [count(Math.min(...values)), count(Math.max(...values))]
  return low === high ? low : `${low} to ${high}`
}

function textOf(runs: readonly FinishedRun[]): string {
  const texts = runs.map(
    ({ config, corpus }) => `${[config.data.source].flat().join(', ')} (hash ${corpus.slice(0, 12)})`,
  )
  return [...new Set(texts)].join('; ')
}

/** The section of runs that failed or are still to be done; null when all are done. */
export function missingSection({ cells }: StudyResults): Section | null {
  const rows = cells.flatMap(({ arm: name, seed, share = 1, record }) => {
    const arm = share === 1 ? name : `${name}, ${share} of the steps`
    if (record === null) return [[arm, String(seed), 'not run yet', '']]
    if (record.status === 'failed') return [[arm, String(seed), 'failed', record.error]]
    return Number.isFinite(record.heldOut.loss) ? [] : [[arm, String(seed), 'no finite loss', '']]
  })
  if (rows.length === 0) return null
  const failed = rows.filter(([, , status]) => status !== 'not run yet').length
  const waiting = rows.length - failed
  return {
    id: 'missing',
    title: 'Runs that failed or are missing',
    about: 'A comparison uses the seeds with which both arms finished, so none uses these runs.',
    verdicts: [
      ...(failed > 0 ? [`${plural(failed, 'run')} failed.`] : []),
      ...(waiting > 0 ? [`${plural(waiting, 'run')} ${waiting === 1 ? 'is' : 'are'} still to be run.`] : []),
    ],
    blocks: shownBlocks([
      table('runs', 'Runs that failed or are missing.', ['Arm', 'Seed', 'State', 'Error'], rows, [0, 2, 3]),
    ]),
  }
}
