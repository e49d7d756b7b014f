/** What the page knows of the runs, kept up to date while they are written. */
import { computed, signal } from '@preact/signals'
import type { Collection, RunSummary } from '../../src/watch/api.ts'
import { getJson, onChanges } from './client.ts'
import { assignStyles, type LineStyle } from './palette.ts'
import { inAddress, list, oneOf } from './view-state.ts'

export const pages = ['curves', 'experts', 'tokens'] as const
export type Page = (typeof pages)[number]
export const pageTitles: Readonly<Record<Page, string>> = { curves: 'Curves', experts: 'Experts', tokens: 'Tokens' }

export const page = inAddress<Page>('page', oneOf(pages), 'curves')
/** Ids of the runs that are looked at. Empty: all of them, which is how a page begins. */
export const chosen = inAddress<readonly string[]>('runs', list, [])

/** The run in the table that the pointer, or a key, was on last. */
export const pointed = signal<string | null>(null)

/** Null until the server has answered once. */
export const collection = signal<Collection | null>(null)
/** Why nothing is known, or nothing new. */
export const problem = signal<string | null>(null)
/** When each run changed last, in versions of the collection: what shows a run depends on its entry. */
export const versions = signal<ReadonlyMap<string, number>>(new Map())

export const runs = computed<readonly RunSummary[]>(() => collection.value?.runs ?? [])
const styles = computed(() => assignStyles(runs.value))
/** How a run's lines and its swatch are drawn, the same everywhere. */
export const styleOf = (run: string): LineStyle => styles.value.get(run) ?? { color: '#888888', dash: [] }
export const runOf = (id: string): RunSummary | undefined => runs.value.find((run) => run.id === id)
export const shownRuns = computed<readonly RunSummary[]>(() =>
  chosen.value.length === 0 ? runs.value : runs.value.filter(({ id }) => chosen.value.includes(id)),
)

/** @param missed Whether changes were not told: then every run may have changed. */
async function load(missed: boolean): Promise<void> {
  try {
    const newest = await getJson<Collection>('/api/collection')
    collection.value = newest
    if (missed) versions.value = new Map(newest.runs.map(({ id }) => [id, newest.version]))
    problem.value = null
  } catch (error) {
    problem.value = (error as Error).message
  }
}

export function follow(): void {
  let loading: Promise<void> | null = null
  let again = false
  let isFirst = !document.hidden
  let missed = false
  const reload = () => {
    again = loading !== null
    if (loading) return
    const all = missed
    missed = false
    loading = load(all).finally(() => {
      loading = null
      if (again) reload()
    })
  }
  reload()
  onChanges((change, connected) => {
    // Between two connections nobody told what changed.
    if (connected && change === null) {
      missed ||= !isFirst
      isFirst = false
    }
    if (!connected) problem.value = 'The connection to the server is lost; trying again.'
    if (change) {
      const changed = new Map(versions.value)
      for (const run of change.runs) changed.set(run, change.version)
      versions.value = changed
    }
    if (connected) reload()
  })
}
