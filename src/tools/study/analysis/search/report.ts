/**
 * The report of a search: the best configuration with a command that trains it, the rungs, the loss of every
 * configuration by budget, and losses over the values of each setting that was searched.
 */

import { fixed, grouped, joinWords, plural } from '../../../../core/text/numbers.ts'
import { commandLine } from '../../../../core/text/shell.ts'
import type { Report, Section } from '../../../report/report.ts'
import type { SearchResults, StudyResults } from '../../contract.ts'
import { assignmentsOf, overlay } from '../../grid/settings.ts'
import { factsOf, missingSection } from '../facts.ts'
import { Runs } from '../runs.ts'
import { shownBlocks } from '../tables.ts'
import { budgetFigure, candidateTable, choiceTable, rungTable, settingFigure } from './blocks.ts'
import { type Tried, triedOf } from './tried.ts'

export function analyseSearch(results: StudyResults, search: SearchResults): Report {
  const runs = new Runs(results)
  const tried = triedOf(results, search)
  const [best, second] = tried
  const missing = missingSection(results)
  const paths = Object.keys(search.settings)
  return {
    title: results.title,
    ...(best && { headline: headlineOf(search, best, second) }),
    facts: [progress(search), ...factsOf(runs).slice(1)],
    command: results.command,
    sections: [
      summary(search, best),
      {
        id: 'rungs',
        title: 'Rungs',
        about: `Of each rung the best 1/${search.eta} went on, by held-out loss.`,
        verdicts: [savings(search)],
        blocks: shownBlocks([rungTable(search), budgetFigure(search, tried)]),
      },
      {
        id: 'settings',
        title: 'Settings',
        about: 'Losses after the first rung, in which all configurations had the same budget.',
        verdicts: edges(search, best),
        blocks: shownBlocks([
          ...paths.map((path) => settingFigure(search, tried, path)),
          ...paths.map((path) => choiceTable(search, tried, path)),
        ]),
      },
      {
        id: 'configurations',
        title: 'All configurations',
        about: '',
        verdicts: [`${plural(results.cells.length, 'configuration')}, those that trained longest first.`],
        blocks: shownBlocks([candidateTable(search, tried)]),
      },
      ...(missing ? [missing] : []),
    ],
  }
}

function progress({ rungs, seed, settings }: SearchResults): string {
  const done = rungs.flatMap(({ entries }) => entries).filter(({ loss }) => loss !== undefined).length
  const all = rungs.reduce((sum, { configurations }) => sum + configurations, 0)
  const paths = Object.keys(settings)
  return `${done} of ${plural(all, 'training')} done: ${plural(rungs[0]?.configurations ?? 0, 'configuration')} of ${joinWords(paths)}, drawn with seed ${seed}`
}

function headlineOf(search: SearchResults, best: Tried, second: Tried | undefined): string {
  const last = search.rungs.at(-1)?.steps ?? 0
  const start = best.steps < last ? `So far, after ${grouped(best.steps)} of ${grouped(last)} steps, the best` : 'Best'
  const found = `${start} configuration: ${best.arm}, held-out loss ${fixed(best.loss, 3)} nats a token`
  return second !== undefined && second.steps === best.steps
    ? `${found}, ${fixed(second.loss - best.loss, 3)} below the next.`
    : `${found}.`
}

function summary({ base, set, rungs }: SearchResults, best: Tried | undefined): Section {
  const section = { id: 'summary', title: 'Summary', about: '', blocks: [] }
  if (best === undefined) return { ...section, verdicts: [] }
  const assignments = assignmentsOf(overlay(set, best.settings)).map((assignment) => ['--set', assignment])
  return {
    ...section,
    verdicts: [
      'The command below trains the best configuration.',
      'One seed for each configuration: to see whether a small lead is more than noise, compare the first few as arms of a study, with several seeds.',
      `Every rung trains the first steps of the same schedule of ${plural(rungs.at(-1)?.steps ?? 0, 'step')}, so losses before the last rung are those of a learning rate that has not decayed yet.`,
    ],
    command: commandLine(['choir', 'train', base, ...assignments.flat()]),
  }
}

/** A sentence about the steps of the search, and of whole trainings of all its configurations. */
function savings({ rungs }: SearchResults): string {
  let done = 0
  for (const [i, { steps, entries }] of rungs.entries()) {
    const ran = entries.filter(({ loss }) => loss !== undefined).length
    done += ran * (steps - (rungs[i - 1]?.steps ?? 0))
  }
  const whole = (rungs[0]?.configurations ?? 0) * (rungs.at(-1)?.steps ?? 0)
  return `${plural(done, 'step')} were trained; whole trainings of all configurations would have ${grouped(whole)}.`
}

/** Share of a range, at each of its ends, in which the best value suggests that the range be extended. */
const NEAR_END = 0.1

function edges({ settings }: SearchResults, best: Tried | undefined): string[] {
  if (best === undefined) return []
  const near = Object.entries(settings).flatMap(([path, { min, max, scale }]) => {
    const value = best.settings[path]
    if (typeof value !== 'number' || min === undefined || max === undefined) return []
    const project = scale === 'log' ? Math.log : (of: number) => of
    const share = (project(value) - project(min)) / (project(max) - project(min))
    const end = share <= NEAR_END ? `min, ${min}` : share >= 1 - NEAR_END ? `max, ${max}` : null
    return end === null
      ? []
      : [`${path}=${value} of the best configuration is near its ${end}: a better value may lie beyond.`]
  })
  return near.length > 0 ? near : ['No searched value of the best configuration is near an end of its range.']
}
