/** Text of the estimate of a study: a table of arms, and the time and disk space that the study needs. */

import { titledTable } from '../../../../core/text/columns.ts'
import {
  bytes,
  count,
  dash,
  duration,
  flops,
  grouped,
  joinWords,
  percent,
  plural,
  shortTime,
} from '../../../../core/text/numbers.ts'
import { printable } from '../../../../core/text/printable.ts'
import type { SeedChoice } from '../../../../tools/study/estimate/costs.ts'
import type { ArmEstimate, StudyEstimate } from '../../../../tools/study/estimate/estimate.ts'
import type { Colors } from '../../io.ts'
import { labelled } from '../display.ts'
import { atATime } from './study.ts'

/** Maximum number of arms that are named before a warning that they share. */
const MAX_NAMED = 3

/** Times below this are not named: they would be shown as 0.0s. */
const MIN_SHOWN = 0.05

export function estimateText(estimate: StudyEstimate, colors: Colors): string {
  const { arms, seeds, runs, finished, jobs, threads, seconds, possible, notes, budget } = estimate
  const titles = ['arm', 'parameters', 'active', 'FLOPs a token', 'steps', 'a step', 'a run', 'left', 'changes']
  const table = titledTable(titles, arms.map(armRow), 'lrrrrrrrl', colors)
  const warnings = warningLines(arms, colors)
  const done = finished > 0 ? `, ${grouped(finished)} already done` : ''
  const rows: [string, string][] = [
    ['study', `${plural(arms.length, 'arm')}, ${plural(seeds, 'seed')}: ${plural(runs, 'run')} left${done}`],
    ['at a time', atATime(jobs, threads)],
    ['time', `${colors.bold(`about ${duration(seconds.total)}`)}${causes(seconds)}`],
    ...(possible.runs > 0
      ? [
          [
            '',
            `at most ${duration(possible.seconds)} more, if learning rates need ${plural(possible.runs, 'further run')}`,
          ] as [string, string],
        ]
      : []),
    [
      'disk',
      `${bytes(estimate.bytes.peak)} while it runs, of which ${bytes(estimate.bytes.kept)} stay; and the report`,
    ],
    ...(budget ? [['budget', budgetText(budget)] as [string, string]] : []),
  ]
  return `\n${[...table, ...warnings].join('\n')}\n\n${labelled(rows, colors)}${notes.map((note) => `\n  ${note}\n`).join('')}`
}

/** A line for each warning, with the arms that have it: many arms of a study may have the same. */
function warningLines(arms: StudyEstimate['arms'], { yellow }: Colors): string[] {
  const byText = new Map<string, string[]>()
  for (const { arm, warnings } of arms)
    for (const text of warnings) byText.set(text, [...(byText.get(text) ?? []), printable(arm)])
  return [...byText].map(([text, names]) => {
    const more = names.length > MAX_NAMED ? [`${names.length - MAX_NAMED} more`] : []
    const whose =
      names.length > 1 && names.length === arms.length ? 'all arms' : joinWords([...names.slice(0, MAX_NAMED), ...more])
    return `  ${yellow(whose)}: ${printable(text)}`
  })
}

/** The choice of a budget, such as `2h 00m: the first 3 of 4 seeds, about 1h 40m`. */
export const budgetText = ({ seconds, seeds, of, needed }: SeedChoice): string =>
  seeds === null
    ? `${duration(seconds)} is too short`
    : `${duration(seconds)}: ${seeds === of ? `all ${plural(of, 'seed')}` : `the first ${seeds} of ${plural(of, 'seed')}`}, at most about ${duration(needed)}`

/**
 * Why a budget is refused, and what it has to be. Steps are only proposed: with fewer, the study asks another question.
 * @param steps Steps of the arms, if all have the same number.
 */
export function refusedBudget({ seconds, of, needed, stepsShare }: SeedChoice, steps: number | null): string {
  const fewest = of < 2 ? 'its seed needs' : 'two seeds need'
  const cut =
    stepsShare === null
      ? 'no number of steps would fit, because starting, evaluations and step timing alone take longer'
      : `it would fit with about ${percent(stepsShare, 0)} of the steps${
          steps === null ? '' : `, --set train.steps=${Math.max(1, Math.floor(steps * stepsShare))}`
        }, but shorter trainings answer another question`
  return `invalid --budget: ${duration(seconds)} (${fewest} about ${duration(needed)}: expected at least that; ${cut})`
}

function armRow({
  arm,
  parameters,
  activeParameters,
  flopsPerToken,
  steps,
  stepSeconds,
  runSeconds,
  runs,
  settings,
}: ArmEstimate): string[] {
  const changes = Object.entries(settings).map(
    ([path, value]) => `${path}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  return [
    printable(arm),
    count(parameters),
    count(activeParameters),
    flops(flopsPerToken),
    grouped(steps),
    stepSeconds === null ? dash : shortTime(stepSeconds),
    duration(runSeconds),
    grouped(runs),
    printable(changes.join(', ')),
  ]
}

function causes({ training, evaluation, starting, timing }: StudyEstimate['seconds']): string {
  const parts: [string, number][] = [
    ['training', training],
    ['evaluation', evaluation],
    ['starting and saving', starting],
    ['step timing', timing],
  ]
  const named = parts.filter(([, seconds]) => seconds >= MIN_SHOWN)
  return named.length > 0 ? `: ${named.map(([name, seconds]) => `${name} ${duration(seconds)}`).join(', ')}` : ''
}
