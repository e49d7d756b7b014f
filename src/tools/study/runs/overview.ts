/** The overview of a study before it trains: its size, how much of it is done, and what its numbers need to be read. */
import { joinWords } from '../../../core/text/numbers.ts'
import { unkeptPlugins } from '../../../node/run/plugins/plugins.ts'
import type { Cell } from '../contract.ts'
import type { StudyEvent } from '../events.ts'
import { distinctCells } from '../grid/cells.ts'
import type { Grid } from '../grid/grid.ts'
import type { SearchPlan } from '../grid/search.ts'
import type { Holder } from '../results/processes.ts'
import { emitPredictions } from '../results/registrations.ts'
import { runsOf } from '../results/results.ts'
import { confirmingOf, trialsOf } from '../results/tuning.ts'
import { mismatchOf } from '../text.ts'
import { changedPartNotes, warmupNote } from './notes.ts'
import type { RunsContext } from './runs-context.ts'

/** Number of trainings in all rungs. */
export const plannedRuns = ({ rungs }: SearchPlan): number =>
  rungs.reduce((sum, { configurations }) => sum + configurations, 0)

/** Emits the matched arms with their solved values. */
export function emitMatches({ matches }: Pick<Grid, 'matches'>, onEvent: (event: StudyEvent) => void): void {
  for (const match of matches) onEvent({ kind: 'match', ...match, mismatch: mismatchOf(match) })
}

/**
 * Emits the size of the study, how much of it is done, its matched arms and its predictions, and notes plugins that
 * changed after results were made or that its runs will not find, long warm-ups, other processes and runs of another machine.
 */
export function emitOverview(
  { grid, ledger, processes, jobs, threads, onEvent }: RunsContext,
  machine: string,
  others: readonly Holder[],
): void {
  const isFinished = ({ key, config }: Cell) => ledger.find(key, config)?.status === 'finished'
  const runs = distinctCells(runsOf(grid, ledger))
  const trials = distinctCells(trialsOf(grid, ledger))
  const { search } = grid
  if (search) {
    const { rungs, candidates } = search
    const work = { runs: plannedRuns(search), finished: runs.filter(isFinished).length, jobs, threads }
    onEvent({ kind: 'search', configurations: candidates.length, rungs, ...work })
    const warmup = Math.max(...candidates.map(({ config }) => config.train.schedule.warmup))
    const first = rungs[0]?.steps ?? 0
    if (first <= warmup)
      onEvent({
        kind: 'note',
        message: `the first rung ends after ${first} steps, within a warm-up of ${warmup}: its losses say little (raise search.minSteps)`,
      })
  } else
    onEvent({
      kind: 'study',
      arms: new Set(grid.cells.map(({ arm }) => arm)).size,
      seeds: grid.seeds.length,
      branches: grid.branches.length,
      runs: runs.length,
      finished: runs.filter(isFinished).length,
      trials: trials.length,
      finishedTrials: trials.filter(isFinished).length,
      jobs,
      threads,
    })
  emitMatches(grid, onEvent)
  emitPredictions(grid, ledger.registrations, onEvent)
  for (const message of changedPartNotes([...runs, ...trials, ...confirmingOf(grid, ledger)], ledger))
    onEvent({ kind: 'note', message })
  for (const message of unkeptPlugins(runs.map(({ config }) => config))) onEvent({ kind: 'note', message })
  const warmup = warmupNote(runs)
  if (warmup !== null) onEvent({ kind: 'note', message: warmup })
  if (others.length > 0) {
    const names = joinWords(others.map((other) => processes.nameOf(other)))
    onEvent({ kind: 'note', message: `working on this study together with ${names}` })
  }
  const onOtherMachine = runs.filter(({ key, config }) => {
    const record = ledger.find(key, config)
    return record?.status === 'finished' && record.machine !== machine
  })
  if (onOtherMachine.length > 0 && onOtherMachine.length < runs.length)
    onEvent({
      kind: 'note',
      message:
        `${onOtherMachine.length} of ${runs.length} runs were done on another machine or version of Node, which may round differently: ` +
        'differences between runs of two machines contain that noise too',
    })
}
