/**
 * State of the table of runs, and the resulting rows. The state is in the address, except for the widths of columns,
 * which the browser keeps (shell/sizes.ts).
 */
import { batch, computed, type ReadonlySignal } from '@preact/signals'
import type { RunSummary } from '../../../src/faces/watch/api.ts'
import { unknownFields } from '../shared/filter.ts'
import { chosen, filter, hidden, matchingRuns, runs, shownRuns } from '../shared/store.ts'
import { flag, inAddress, list, text } from '../shared/view-state.ts'
import { resetSize, resize, sizes } from '../shell/sizes.ts'
import { type Column, configColumn, fixedColumns, fixedColumnsFor, sorted } from './columns.ts'
import { differences, experimentOf } from './differences.ts'
import { knownRuns } from './known-runs.ts'
import { sharedFolderOf, sharedName } from './names.ts'
import { groupedRows, type TableRow, withMembers } from './seed-groups.ts'

/** Configuration fields with a column. */
export const addedFields = inAddress<readonly string[]>('columns', list, [])
const sortBy = inAddress('sort', text, 'name')
const sortDown = inAddress('down', flag, false)
export const differencesShown = inAddress('differences', flag, false)
/** Whether runs that differ only in their seeds are one row and have one colour. */
export const seedsGrouped = inAddress('grouped', flag, false)
/** Rows of seeds whose runs are listed. */
const opened = inAddress<readonly string[]>('opened', list, [])

/** Width of a column that has a mean and below it a spread, in pixels. */
const MEAN_COLUMN = 86

export const columns: ReadonlySignal<readonly Column[]> = computed(() => [
  ...fixedColumnsFor(runs.value).map((column) => {
    if (!seedsGrouped.value) return column
    if (column.numeric) return { ...column, width: Math.max(column.width, MEAN_COLUMN) }
    // Names without seeds are shorter, and give the room that the means take.
    return column.id === 'name' ? { ...column, width: Math.min(190, column.width - 22) } : column
  }),
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

export const rows: ReadonlySignal<readonly TableRow[]> = computed(() => {
  const column = columns.value.find(({ id }) => id === sortBy.value) ?? (fixedColumns[0] as Column)
  const sort = (some: readonly RunSummary[]) => sorted(some, column, sortDown.value)
  if (!seedsGrouped.value) return sort(matchingRuns.value).map((run) => ({ id: run.id, run, group: null }))
  const groups = groupedRows(matchingRuns.value, experiment, sharedName)
  const byRun = new Map(groups.map((row) => [row.run, row]))
  const inOrder = sort(groups.map(({ run }) => run)).flatMap((run) => byRun.get(run) ?? [])
  return withMembers(inOrder, isOpen, sort)
})

/** Whether there is an experiment with several runs. */
export const hasSeeds = computed(() => {
  const known = [...knownRuns.value.values()].flatMap((run) => experiment(run) ?? [])
  return new Set(known).size < known.length
})

const experiments = computed(() => new Map([...knownRuns.value].map(([id, { config }]) => [id, experimentOf(config)])))
export const experiment = ({ id }: RunSummary): string | null => experiments.value.get(id) ?? null

export const isOpen = ({ id }: TableRow): boolean => opened.value.includes(id)
export function toggleOpen({ id }: TableRow): void {
  opened.value = opened.value.includes(id) ? opened.value.filter((each) => each !== id) : [...opened.value, id]
}

/** The runs of a row. */
export const idsOf = ({ run, group }: TableRow): readonly string[] => group?.runs.map(({ id }) => id) ?? [run.id]

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
 * Hides runs if all of them are shown, and otherwise shows them. Runs that the filter hides keep their selection. Without
 * a selection, the hidden runs are kept, so that runs that appear later are shown. Hiding the last run shows all.
 */
export function toggleShown(ids: readonly string[]): void {
  const areShown = ids.every((id) => shownIds.value.has(id))
  const without = (list: readonly string[]) => list.filter((each) => !ids.includes(each))
  const withAll = (list: readonly string[]) => [...without(list), ...ids]
  if (chosen.value.length > 0) choose((areShown ? without : withAll)(chosen.value))
  else {
    const wanted = (areShown ? withAll : without)(hidden.value)
    hidden.value = runs.value.every((run) => wanted.includes(run.id)) ? [] : wanted
  }
}

/** Shows only these runs, or all runs if they are already the only shown ones. */
export function showOnly(ids: readonly string[]): void {
  const areOnly = shownIds.value.size === ids.length && ids.every((id) => shownIds.value.has(id))
  choose(areOnly ? [] : ids)
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
