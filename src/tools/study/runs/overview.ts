/**
 * The overview of a study before it trains: its size, how much of it is done, and what its numbers need to be read. Among
 * that are results that it cannot use because a file of the user's own part (a router, a layer, ...) changed: another
 * version of a part is another part, so its runs are trained again.
 */
import { groups } from 'd3-array'
import { type RunConfig, runSchema } from '../../../core/config/run-config.ts'
import { joinWords, plural } from '../../../core/text/numbers.ts'
import { namesIn, nounOf, type PluginKind, withPlugin } from '../../../node/run/plugins/kinds.ts'
import { unkeptPlugins } from '../../../node/run/plugins/plugins.ts'
import { warmsUpLong } from '../../../train/run/notices.ts'
import type { Cell, RunRecord } from '../contract.ts'
import type { StudyEvent } from '../events.ts'
import { distinctCells } from '../grid/cells.ts'
import type { Grid } from '../grid/grid.ts'
import { settingsHashOf } from '../grid/keys.ts'
import type { SearchPlan } from '../grid/search.ts'
import type { Ledger } from '../results/ledger.ts'
import type { Holder } from '../results/processes.ts'
import { emitPredictions } from '../results/registrations.ts'
import { runsOf } from '../results/results.ts'
import { confirmingOf, trialsOf } from '../results/tuning.ts'
import { mismatchOf } from '../text.ts'
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

/** The notes about changed parts, one for each, before their runs are trained again. @param cells All known trainings */
export function changedPartNotes(cells: readonly Cell[], ledger: Pick<Ledger, 'find' | 'records'>): string[] {
  const used = new Set(cells.flatMap(({ key, config }) => ledger.find(key, config) ?? []))
  const missing = new Map(
    cells.flatMap(({ key, config }) =>
      ledger.find(key, config) || namesIn(config).length === 0 ? [] : [[withoutVersions(config), config] as const],
    ),
  )
  if (missing.size === 0) return []
  const changes = new Map<string, { readonly kind: PluginKind; readonly from: Set<string>; lost: Set<RunRecord> }>()
  for (const record of ledger.records) {
    if (used.has(record)) continue
    // The configuration may be of an earlier version, whose schema had fewer fields.
    const { data: stored } = runSchema.safeParse(record.config)
    const config = stored && missing.get(withoutVersions(stored))
    if (!config) continue
    const now = new Map(namesIn(config).map(({ kind, id }) => [kind, id]))
    for (const { kind, id } of namesIn(stored)) {
      const current = now.get(kind)
      if (current === undefined || current === id) continue
      const change = changes.get(current) ?? { kind, from: new Set(), lost: new Set() }
      changes.set(current, change)
      change.from.add(id)
      change.lost.add(record)
    }
  }
  return [...changes].map(
    ([id, { kind, from, lost }]) =>
      `the ${nounOf(kind)} ${nameOf(id)} changed: ${plural(lost.size, 'result')} ${lost.size === 1 ? 'was' : 'were'} made with ` +
      `another version of it (${[...from].join(', ')}; now ${id}) and cannot be used, so ${lost.size === 1 ? 'that run is' : 'these runs are'} ` +
      `trained again (to use what there is, stop, and restore the earlier file: runs have a copy, ${kind}.*)`,
  )
}

/** The settings that decide a result, with the names of parts and without their versions. */
function withoutVersions(config: RunConfig): string {
  const unversioned = namesIn(config).reduce(
    (fields, { kind, id }) => withPlugin(fields, kind, nameOf(id)),
    config as unknown as Parameters<typeof withPlugin>[0],
  )
  return settingsHashOf(unversioned as unknown as RunConfig)
}

const nameOf = (id: string): string => id.split('@')[0] ?? id

/** One note about all long warm-ups of a study, before it trains. Short branches of a run have its steps of warm-up. */

/** Largest number of arms that are named with one warm-up. */
const MAX_NAMED = 5

/** The arms whose learning rate rises for more than a quarter of the steps; null if there is none. */
export function warmupNote(cells: readonly Cell[]): string | null {
  const long = cells.filter(({ config }) => warmsUpLong(config))
  const byWarmup = groups(long, ({ config: { train } }) => `${train.schedule.warmup} of ${train.steps} steps`)
  if (byWarmup.length === 0) return null
  const listed = byWarmup.map(([warmup, own]) => {
    const arms = [...new Set(own.map(({ arm }) => arm))]
    const named = arms.length > MAX_NAMED ? [...arms.slice(0, MAX_NAMED), `${arms.length - MAX_NAMED} more`] : arms
    return `${warmup} in ${joinWords(named)}`
  })
  return (
    `the learning rate rises for more than a quarter of the steps: ${listed.join('; ')}; these losses are those of a ` +
    'lower rate than train.schedule.learningRate (set train.schedule.warmup to at most a quarter of train.steps)'
  )
}
