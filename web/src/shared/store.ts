/** The page's state: the runs, kept up to date, and which of them are shown. */
import { batch, computed, signal } from '@preact/signals'
import type { Collection, RunSummary } from '../../../src/faces/watch/api.ts'
import { getJson, onChanges } from './client.ts'
import { matches, parseFilter } from './filter.ts'
import { inAddress, list, oneOf, text } from './view-state.ts'

export const pages = ['curves', 'experts', 'tokens', 'ranks'] as const
export type Page = (typeof pages)[number]
export const pageTitles: Readonly<Record<Page, string>> = {
  curves: 'Curves',
  experts: 'Experts',
  tokens: 'Tokens',
  ranks: 'Ranks',
}

export const page = inAddress<Page>('page', oneOf(pages), 'curves', true)
/** Ids of the selected runs. An empty list, the default, means all runs. */
export const chosen = inAddress<readonly string[]>('runs', list, [])
/** Ids of the runs that are hidden while no run is selected. A run that appears later is shown. */
export const hidden = inAddress<readonly string[]>('hide', list, [])
/** Text of the filter, in the language of filter.ts. */
export const filterText = inAddress('filter', text, '')

/** The run in the table that was last under the pointer or focused. */
export const pointed = signal<string | null>(null)
let pointing: ReturnType<typeof setTimeout> | undefined

/** Sets `pointed` after a delay, so that rows that scroll past below the pointer do not count. */
export function pointAt(run: string | null): void {
  clearTimeout(pointing)
  pointing = setTimeout(() => (pointed.value = run), 60)
}

/** The newest collection; null until the first response. */
export const collection = signal<Collection | null>(null)
/** The reason why the page has no data, or no new data; null if there is none. */
export const problem = signal<string | null>(null)
/** A number per run that changes whenever the run may have changed: views of a run depend on it. */
export const versions = signal<ReadonlyMap<string, number>>(new Map())

export const runs = computed<readonly RunSummary[]>(() => collection.value?.runs ?? [])
export const runOf = (id: string): RunSummary | undefined => runs.value.find((run) => run.id === id)
export const filter = computed(() => parseFilter(filterText.value))
/** The runs that match the filter, which the table lists. */
export const matchingRuns = computed<readonly RunSummary[]>(() =>
  runs.value.filter((run) => matches(run, filter.value)),
)
/** The selected runs among them, or those that are not hidden, which every page shows. */
export const shownRuns = computed<readonly RunSummary[]>(() =>
  matchingRuns.value.filter(({ id }) =>
    chosen.value.length === 0 ? !hidden.value.includes(id) : chosen.value.includes(id),
  ),
)
/** Whether some runs are not shown for another reason than the filter. */
export const isSelection = computed(
  () => chosen.value.length > 0 || runs.value.some(({ id }) => hidden.value.includes(id)),
)

/** Text of a message in place of a page: why no run is shown, and what to do. */
export function whyNoRun(): string {
  if (matchingRuns.value.length === 0) return 'No run matches the filter.'
  const all = '“All”, above the runs, shows the others.'
  if (chosen.value.length === 0) return `All runs that match the filter are hidden. ${all}`
  return chosen.value.some((id) => runOf(id) !== undefined)
    ? `None of the selected runs matches the filter. ${all}`
    : `The selected runs no longer exist. ${all}`
}

/** Newest of `versions`. The page counts by itself, because a restarted server may repeat its version numbers. */
let clock = 0

/**
 * Loads the collection, then marks runs as changed; in this order, nothing is requested for a removed run.
 * @param changed Runs that changed; null if every run may have changed.
 */
async function load(changed: ReadonlySet<string> | null): Promise<boolean> {
  try {
    const newest = await getJson<Collection>('/api/collection')
    batch(() => {
      collection.value = newest
      const ids = changed ?? newest.runs.map(({ id }) => id)
      clock++
      versions.value = new Map([...versions.value, ...[...ids].map((id) => [id, clock] as const)])
      problem.value = null
    })
    return true
  } catch (error) {
    problem.value = (error as Error).message
    return false
  }
}

export function follow(): void {
  let loading = false
  let again = false
  let isFirst = !document.hidden
  let hasMissed = false
  let changed = new Set<string>()
  const reload = async () => {
    again = loading
    if (loading) return
    loading = true
    const loaded = hasMissed ? null : changed
    hasMissed = false
    changed = new Set()
    // After a failure the next load includes the same runs.
    if (!(await load(loaded))) {
      hasMissed ||= loaded === null
      changed = new Set([...(loaded ?? []), ...changed])
    }
    loading = false
    if (again) reload()
  }
  reload()
  onChanges((change, connected) => {
    // Changes between two connections were not received.
    if (connected && change === null) {
      hasMissed ||= !isFirst
      isFirst = false
    }
    if (!connected) problem.value = 'The connection to the server is lost; retrying.'
    for (const run of change?.runs ?? []) changed.add(run)
    if (connected) reload()
  })
}
