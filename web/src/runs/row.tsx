/** A row in the table of runs. */

import { compact, duration, grouped } from '../../../src/core/text/numbers.ts'
import type { RunState, RunSummary } from '../../../src/faces/watch/api.ts'
import { pointAt } from '../shared/store.ts'
import { Icon } from '../shell/icon.tsx'
import type { Column } from './columns.ts'
import { Name } from './name.tsx'
import { type SeedGroup, statesText, type TableRow } from './seed-groups.ts'
import { Swatch } from './swatch.tsx'
import { columns, idsOf, isOpen, seedsGrouped, showOnly, toggleOpen, toggleShown } from './table-state.ts'

interface RowProps {
  readonly row: TableRow
  /** Index of the row in the whole table. */
  readonly index: number
  /** Whether all runs of the row are shown, some or none. */
  readonly shown: Shown
  /** Whether keyboard shortcuts apply to the row. */
  readonly active: boolean
  readonly activate: () => void
}

export type Shown = 'all' | 'some' | 'none'

export function Row({ row, index, shown, active, activate }: RowProps) {
  const { run, group } = row
  return (
    <tr
      class={`${shown === 'none' ? '' : 'shown'} ${active ? 'active' : ''}`}
      aria-rowindex={index + 2}
      aria-current={active ? 'true' : undefined}
      onPointerDown={activate}
      onPointerEnter={() => pointAt(run.id)}
    >
      {columns.value.map((column) => {
        if (column.id === 'name') return <NameCell key="name" row={row} shown={shown} />
        if (column.id === 'state') return <StateCell key="state" run={run} group={group} />
        if (group && column.numeric) return <MeanCell key={column.id} run={run} group={group} column={column} />
        const text = column.text?.(run) ?? ''
        return (
          <td key={column.id} class={column.numeric ? 'numeric' : 'value'} title={column.hint?.(run) ?? text}>
            {text}
          </td>
        )
      })}
    </tr>
  )
}

function NameCell({ row, shown }: { readonly row: TableRow; readonly shown: Shown }) {
  const { run, group } = row
  const name = group ? `${run.name}, all ${group.runs.length} seeds` : run.name
  return (
    <th scope="row">
      {seedsGrouped.value && <Opener row={row} />}
      <label>
        <input
          type="checkbox"
          checked={shown === 'all'}
          indeterminate={shown === 'some'}
          aria-label={`Show ${name}`}
          onChange={(event) => {
            toggleShown(idsOf(row))
            // Hiding the last run shows all, so the box must follow `shown` and not the click.
            event.currentTarget.checked = shown === 'all'
          }}
        />
        <Swatch run={run.id} />
      </label>
      <button type="button" aria-label={name} title={titleOf(row)} onClick={() => showOnly(idsOf(row))}>
        <Name name={run.name} whole={group !== null} />
      </button>
      {group && <span class="seeds">×{group.runs.length}</span>}
    </th>
  )
}

/** Lists the runs of a row of seeds below it. Other rows have the same room. */
function Opener({ row }: { readonly row: TableRow }) {
  if (!row.group) return <span class="opener" />
  const open = isOpen(row)
  return (
    <span class="opener">
      <button
        type="button"
        class={open ? 'open' : ''}
        aria-expanded={open}
        aria-label={`Seeds of ${row.run.name}`}
        title={open ? 'Hide the seeds' : 'List the seeds'}
        onClick={() => toggleOpen(row)}
      >
        <Icon name="fold" />
      </button>
    </span>
  )
}

/** Tooltip of a name. A run of a study has its path on another line. */
function titleOf({ run: { name, path }, group }: TableRow): string {
  if (group) return `${name}: show only these ${group.runs.length} runs`
  return `${name}: show only this run${path === name ? '' : `\n${path}`}`
}

interface MeanCellProps {
  readonly run: RunSummary
  readonly group: SeedGroup
  readonly column: Column
}

/** A mean over seeds, and below it the range from the smallest to the largest. */
function MeanCell({ run, group: { runs, counted, spreads }, column }: MeanCellProps) {
  const range = spreads[column.id]?.map(column.format ?? String).join('–')
  const of = counted.length === runs.length ? `all ${runs.length}` : `${counted.length} of ${runs.length}`
  return (
    <td class="numeric mean" title={`Mean over ${of} seeds${range === undefined ? '' : `, from ${range}`}`}>
      {column.text?.(run) ?? ''}
      {range !== undefined && <em>{range}</em>}
    </td>
  )
}

const stateTitles: Readonly<Record<RunState, string>> = {
  running: 'Running',
  finished: 'Finished',
  stopped: 'Stopped',
  failed: 'Failed',
  unreadable: 'Unreadable',
}

function StateCell({ run, group }: { readonly run: RunSummary; readonly group: SeedGroup | null }) {
  if (group) return <StatesCell run={run} group={group} />
  const { state, step, steps, secondsLeft } = run
  const title = stateTitles[state]
  const left = secondsLeft === null ? '' : `, ${duration(secondsLeft)} left`
  const done = steps === null ? `step ${grouped(step)}` : `step ${grouped(step)} of ${grouped(steps)}`
  return (
    <td class={`state ${state}`} title={run.failure ?? run.problem ?? `${title}, ${done}${left}`}>
      <div>
        {run.routerFaults ? (
          // The column has room for one sign.
          <span class="bad" title={run.routerFaults.join('\n')}>
            <Icon name="unreadable" />
            <span class="hidden">{run.routerFaults.join('; ')}</span>
          </span>
        ) : (
          <Icon name={state} filled={state === 'running' || state === 'stopped'} />
        )}
        {run.failure === undefined ? (
          // The sign stands for the word where the column has no room for it.
          <span class={run.reading ? '' : 'state-word'}>{run.reading ? 'Reading' : title} </span>
        ) : (
          <FailureLink run={run.id} title={title} reason={run.failure} />
        )}
        <em>{progressText(run)}</em>
        {run.problem !== undefined && state !== 'unreadable' && (
          <span class="bad">
            <Icon name="unreadable" />
            <span class="hidden">{run.problem}</span>
          </span>
        )}
      </div>
      {steps !== null && <progress value={step} max={Math.max(1, steps)} aria-label={`${run.name}: progress`} />}
    </td>
  )
}

/** The states of several runs: how many have finished, and in the colour of a failure whether one failed. */
function StatesCell({ run: { name, state, step, steps }, group: { runs } }: Omit<MeanCellProps, 'column'>) {
  const finished = runs.filter((run) => run.state === 'finished').length
  return (
    <td class={`state ${state}`} title={statesText(runs)}>
      <div>
        <Icon name={state} filled={state === 'running' || state === 'stopped'} />
        <span>
          {finished}/{runs.length} done
        </span>
        <span class="hidden">: {statesText(runs)}</span>
      </div>
      {steps !== null && (
        <progress value={step} max={Math.max(1, steps)} aria-label={`${name}: progress of all seeds`} />
      )}
    </td>
  )
}

/** The word opens the record that the training left, in a tab of its own. */
function FailureLink({
  run,
  title,
  reason,
}: {
  readonly run: string
  readonly title: string
  readonly reason: string
}) {
  return (
    <>
      <a href={`/api/failure?run=${encodeURIComponent(run)}`} target="_blank" rel="noreferrer">
        {title}
        <span class="hidden">: {reason} (opens the record of the failure)</span>
      </a>{' '}
    </>
  )
}

function progressText({ state, step, steps, secondsLeft }: RunSummary): string {
  if (steps === null) return `step ${compact(step)}`
  if (state === 'finished') return `${compact(step)} steps`
  const done = `${compact(step)}/${compact(steps)}`
  return secondsLeft === null ? done : `${duration(secondsLeft)} left`
}
