/** What the study is, before anything that it found: runs, model, text and machine; and what is missing. */
import type { Section } from '../../report/report.ts'
import { count, dash, fixed, plural } from '../../text/numbers.ts'
import type { FinishedRun, Pilot, StudyResults } from '../contract.ts'
import type { Runs } from './runs.ts'
import { present, table } from './tables.ts'

export function factsOf(runs: Runs): string[] {
  const { cells, seeds, machine, pilot } = runs.results
  const done = cells.flatMap(({ record }) => (record?.status === 'finished' ? [record] : []))
  const failed = cells.filter(({ record }) => record?.status === 'failed').length
  const missing = cells.length - done.length - failed
  const rest = [...(failed > 0 ? [`${failed} failed`] : []), ...(missing > 0 ? [`${missing} not run yet`] : [])]
  return [
    `${done.length} of ${plural(cells.length, 'run')} done${rest.length > 0 ? ` (${rest.join(', ')})` : ''}: ${plural(new Set(cells.map(({ arm }) => arm)).size, 'arm')}, ${plural(seeds.length, 'seed')} (${seeds.join(', ')})`,
    ...(done.length > 0
      ? [
          `Model: ${span(done, (run) => run.parameters)} parameters, ${span(done, (run) => run.activeParameters)} used by a token`,
          `Tokens a run: ${span(done, (run) => run.tokens)}`,
          `Text: ${textOf(done)}`,
        ]
      : []),
    ...(pilot ? [pilotText(pilot)] : []),
    ...machine.split('\n').flatMap((line) => (line.trim() === '' ? [] : [`Machine: ${line.trim()}`])),
  ]
}

/** Measured beforehand: how much seeds differ, and which effects the study can find. */
const pilotText = ({ arm, baseline, differences, deviation, seeds, detectable }: Pilot): string =>
  `Pilot: the difference of ${arm} and ${baseline} varies by ${fixed(deviation, 4)} nats a token between ${plural(differences.length, 'seed')} (standard deviation), so with ${plural(seeds, 'seed')} a true difference of ${fixed(detectable, 4)} is found four times in five`

/** 4.12 M, or 1.10 M to 4.12 M. */
function span(runs: readonly FinishedRun[], value: (run: FinishedRun) => number): string {
  const values = runs.map(value).filter(Number.isFinite)
  if (values.length === 0) return dash
  const [low, high] = [count(Math.min(...values)), count(Math.max(...values))]
  return low === high ? low : `${low} to ${high}`
}

function textOf(runs: readonly FinishedRun[]): string {
  const texts = runs.map(({ config, corpus }) => `${[config.data.source].flat().join(', ')} (${corpus.slice(0, 12)})`)
  return [...new Set(texts)].join('; ')
}

/** Runs that failed or are not there yet; null when all are done. */
export function missingSection({ cells }: StudyResults): Section | null {
  const rows = cells.flatMap(({ arm, seed, record }) => {
    if (record === null) return [[arm, String(seed), 'not run yet', '']]
    if (record.status === 'failed') return [[arm, String(seed), 'failed', record.error]]
    return Number.isFinite(record.heldOut.loss) ? [] : [[arm, String(seed), 'no finite loss', '']]
  })
  if (rows.length === 0) return null
  const failed = rows.filter(([, , status]) => status !== 'not run yet').length
  const waiting = rows.length - failed
  const made = table('Runs that failed or are missing.', ['Arm', 'Seed', 'State', 'Error'], rows)
  return {
    id: 'missing',
    title: 'Runs that failed or are missing',
    about: 'Comparisons use the seeds with which both arms finished; these runs are in none.',
    verdicts: [
      ...(failed > 0 ? [`${plural(failed, 'run')} failed.`] : []),
      ...(waiting > 0 ? [`${plural(waiting, 'run')} ${waiting === 1 ? 'is' : 'are'} not there yet.`] : []),
    ],
    blocks: present([
      made && {
        ...made,
        columns: made.columns.map((column, i) => ({
          ...column,
          align: i === 1 ? ('right' as const) : ('left' as const),
        })),
      },
    ]),
  }
}
