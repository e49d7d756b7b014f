/**
 * State of the table of runs, and the resulting rows. The state is in the address, except for the widths of columns,
 * which the browser keeps (shell/sizes.ts).
 */
import { batch, computed, type ReadonlySignal } from '@preact/signals'
import type { RunSummary } from '../../../src/faces/watch/api.ts'
import { resetSize, resize, sizes } from '../shell/sizes.ts'
import { chosen, filter, hidden, matchingRuns, runs, shownRuns } from '../store.ts'
import { flag, inAddress, list, text } from '../view-state.ts'
import { type Column, configColumn, fixedColumns, fixedColumnsFor, sorted } from './columns.ts'
import { differences } from './differences.ts'
import { unknownFields } from './filter.ts'
import { sharedFolderOf } from './names.ts'

/** Configuration fields with a column. */
export const addedFields = inAddress<readonly string[]>('columns', list, [])
const sortBy = inAddress('sort', text, 'name')
const sortDown = inAddress('down', flag, false)
export const differencesShown = inAddress('differences', flag, false)

export const columns: ReadonlySignal<readonly Column[]> = computed(() => [
  ...fixedColumnsFor(runs.value),
  ...addedFields.value.map(configColumn),
])

export const filterProblem = computed(() => {
  const unknown = unknownFields(filter.value, runs.value)
  if (unknown.length > 0) return `No run has a field ${unknown.join(', ')}`
  return filter.value.problem
})

const sizeName = (id: string) => `column ${id}`
export const MIN_COLUMN = 48
export const MAX_COLUMN = 800

/** Widths of the columns in pixels; null for the width that the others leave, but at least the width of the column. */
export const columnWidths = computed(() =>
  columns.value.map(({ id, width }) => {
    const set = sizes.value[sizeName(id)]
    if (set === undefined) return id === 'name' ? null : width
    return Math.max(MIN_COLUMN, Math.min(MAX_COLUMN, set))
  }),
)

export const resizeColumn = (id: string, pixels: number): void => resize(sizeName(id), pixels)
export const resetColumn = (id: string): void => resetSize(sizeName(id))

export const order = computed(() => ({ id: sortBy.value, descending: sortDown.value }))

/** Sorts by a column: ascending, then descending when called again. */
export function sortWith(id: string): void {
  sortDown.value = sortBy.value === id && !sortDown.value
  sortBy.value = id
}

export const rows: ReadonlySignal<readonly RunSummary[]> = computed(() => {
  const column = columns.value.find(({ id }) => id === sortBy.value) ?? (fixedColumns[0] as Column)
  return sorted(matchingRuns.value, column, sortDown.value)
})

export const sharedFolder = computed(() => sharedFolderOf(runs.value.map(({ name }) => name)))

export const shownIds = computed(() => new Set(shownRuns.value.map(({ id }) => id)))

/** Selects runs. No selection means all runs. */
export function choose(ids: Iterable<string>): void {
  const wanted = new Set(ids)
  const known = runs.value.filter(({ id }) => wanted.has(id)).map(({ id }) => id)
  batch(() => {
    chosen.value = known.length === runs.value.length ? [] : known
    hidden.value = []
  })
}

/**
 * Shows or hides a run. Runs that the filter hides keep their selection. Without a selection, the hidden runs are kept,
 * so that runs that appear later are shown. Hiding the last run shows all.
 */
export function toggleShown(id: string): void {
  const toggled = (ids: readonly string[]) => (ids.includes(id) ? ids.filter((each) => each !== id) : [...ids, id])
  if (chosen.value.length > 0) choose(toggled(chosen.value))
  else {
    const wanted = toggled(hidden.value)
    hidden.value = runs.value.every((run) => wanted.includes(run.id)) ? [] : wanted
  }
}

/** Shows only this run, or all runs if it is already the only shown run. */
export function showOnly(id: string): void {
  choose(shownIds.value.size === 1 && shownIds.value.has(id) ? [] : [id])
}

/** All fields, split by whether runs differ in them. */
export const fields = computed(() => {
  const differing = differences(runs.value).map(({ field }) => field)
  const all = new Set(runs.value.flatMap(({ config }) => Object.keys(config)))
  return { differing, same: [...all].filter((field) => !differing.includes(field)) }
})

export function toggleField(field: string): void {
  const added = addedFields.value
  addedFields.value = added.includes(field) ? added.filter((each) => each !== field) : [...added, field]
}
