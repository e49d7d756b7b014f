/** What the page knows of the runs, kept up to date while they are written. */
import { batch, computed, signal } from '@preact/signals'
import type { Collection, RunSummary } from '../../src/watch/api.ts'
import { getJson, onChanges } from './client.ts'
import { assignStyles, type LineStyle } from './palette.ts'
import { inAddress, list, oneOf } from './view-state.ts'

export const pages = ['curves', 'experts', 'tokens'] as const
export type Page = (typeof pages)[number]
export const pageTitles: Readonly<Record<Page, string>> = { curves: 'Curves', experts: 'Experts', tokens: 'Tokens' }

export const page = inAddress<Page>('page', oneOf(pages), 'curves', true)
/** Ids of the runs that are looked at. Empty: all of them, which is how a page begins. */
export const chosen = inAddress<readonly string[]>('runs', list, [])

/** The run in the table that the pointer, or a key, was on last. */
export const pointed = signal<string | null>(null)
let pointing: ReturnType<typeof setTimeout> | undefined

/** After a moment: rows that scroll past below the pointer are not what somebody points at. */
export function pointAt(run: string | null): void {
  clearTimeout(pointing)
  pointing = setTimeout(() => (pointed.value = run), 60)
}

/** Null until the server has answered once. */
export const collection = signal<Collection | null>(null)
/** Why nothing is known, or nothing new. */
export const problem = signal<string | null>(null)
/** Of each run a number that is another whenever it may have changed: what shows a run depends on its entry. */
export const versions = signal<ReadonlyMap<string, number>>(new Map())

export const runs = computed<readonly RunSummary[]>(() => collection.value?.runs ?? [])
const styles = computed(() => assignStyles(runs.value))
/** How a run's lines and its swatch are drawn, the same everywhere. */
export const styleOf = (run: string): LineStyle => styles.value.get(run) ?? { color: '#888888', dash: [] }
export const runOf = (id: string): RunSummary | undefined => runs.value.find((run) => run.id === id)
export const shownRuns = computed<readonly RunSummary[]>(() =>
  chosen.value.length === 0 ? runs.value : runs.value.filter(({ id }) => chosen.value.includes(id)),
)

/** Counts on here: a server that was started again counts from the beginning, and comes to numbers that were there. */
let clock = 0

/**
 * What was told to have changed is asked for when it is known what there is: a run that is gone is asked nothing.
 * @param told Runs that changed; null where changes were not told, and every run may have.
 */
async function load(told: ReadonlySet<string> | null): Promise<boolean> {
  try {
    const newest = await getJson<Collection>('/api/collection')
    batch(() => {
      collection.value = newest
      const changed = told ?? newest.runs.map(({ id }) => id)
      clock++
      versions.value = new Map([...versions.value, ...[...changed].map((id) => [id, clock] as const)])
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
  let missed = false
  let told = new Set<string>()
  const reload = async () => {
    again = loading
    if (loading) return
    loading = true
    const news = missed ? null : told
    missed = false
    told = new Set()
    // What came to nothing is left for the next time.
    if (!(await load(news))) {
      missed ||= news === null
      told = new Set([...(news ?? []), ...told])
    }
    loading = false
    if (again) reload()
  }
  reload()
  onChanges((change, connected) => {
    // Between two connections nobody told what changed.
    if (connected && change === null) {
      missed ||= !isFirst
      isFirst = false
    }
    if (!connected) problem.value = 'The connection to the server is lost; trying again.'
    for (const run of change?.runs ?? []) told.add(run)
    if (connected) reload()
  })
}
