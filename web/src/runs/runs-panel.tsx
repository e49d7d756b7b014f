/** The runs at the side of the page: filter, actions and table. */
import { useEffect, useRef } from 'preact/hooks'
import { filterText, isSelection, matchingRuns, runs, shownRuns } from '../shared/store.ts'
import { onKeys } from '../shell/shortcuts.tsx'
import { ColumnsMenu } from './columns-menu.tsx'
import { DifferencesDialog } from './differences-dialog.tsx'
import './runs.css'
import { RunsTable } from './runs-table.tsx'
import { choose, differencesShown, filterProblem, hasSeeds, rows, seedsGrouped } from './table-state.ts'

export function RunsPanel() {
  const field = useRef<HTMLInputElement>(null)
  useEffect(
    () => onKeys({ '/': () => field.current?.focus(), d: () => (differencesShown.value = shownRuns.value.length > 1) }),
    [],
  )
  const problem = filterProblem.value
  return (
    <section class="runs-panel" aria-label="Runs">
      <div class="runs-tools">
        <input
          ref={field}
          type="search"
          class={problem ? 'wrong' : ''}
          placeholder="Filter: name, k=2, loss<3.5, state:running"
          aria-label="Filter the runs"
          aria-describedby="filter-note"
          spellcheck={false}
          value={filterText.value}
          onInput={(event) => (filterText.value = event.currentTarget.value)}
          onKeyDown={(event) => event.key === 'Escape' && event.currentTarget.blur()}
        />
        <div class="runs-actions">
          <span id="filter-note" role="status" class={problem ? 'bad' : 'quiet'}>
            {problem ?? countText()}
          </span>
          {isSelection.value && (
            <button type="button" title="Show every run that matches the filter" onClick={() => choose([])}>
              All
            </button>
          )}
          {hasSeeds.value && (
            <button
              type="button"
              class={seedsGrouped.value ? 'on' : ''}
              aria-pressed={seedsGrouped.value}
              title="Runs that differ only in their seeds are one row, with means, and have one colour"
              onClick={() => (seedsGrouped.value = !seedsGrouped.value)}
            >
              Group seeds
            </button>
          )}
          <button
            type="button"
            disabled={shownRuns.value.length < 2}
            title="Configuration fields in which the shown runs differ"
            onClick={() => (differencesShown.value = true)}
          >
            Differences
          </button>
          <ColumnsMenu />
        </div>
      </div>
      {rows.value.length > 0 || runs.value.length === 0 ? (
        <RunsTable />
      ) : (
        <p class="empty small">No run matches the filter.</p>
      )}
      {differencesShown.value && <DifferencesDialog />}
    </section>
  )
}

function countText(): string {
  const all = runs.value.length
  const matching = matchingRuns.value.length
  const found = matching === all ? `${all} ${all === 1 ? 'run' : 'runs'}` : `${matching} of ${all} runs`
  return !isSelection.value ? found : `${found}, ${shownRuns.value.length} shown`
}
