/** A row in the table of runs. */

import { compact, duration, grouped } from '../../../src/core/text/numbers.ts'
import type { RunState, RunSummary } from '../../../src/faces/watch/api.ts'
import { Icon } from '../shell/icon.tsx'
import { pointAt } from '../store.ts'
import { Name } from './name.tsx'
import { Swatch } from './swatch.tsx'
import { columns, showOnly, toggleShown } from './table-state.ts'

interface RowProps {
  readonly run: RunSummary
  /** Index of the row in the whole table. */
  readonly index: number
  readonly shown: boolean
  /** Whether keyboard shortcuts apply to the row. */
  readonly active: boolean
  readonly activate: () => void
}

export function Row({ run, index, shown, active, activate }: RowProps) {
  return (
    <tr
      class={`${shown ? 'shown' : ''} ${active ? 'active' : ''}`}
      aria-rowindex={index + 2}
      aria-current={active ? 'true' : undefined}
      onPointerDown={activate}
      onPointerEnter={() => pointAt(run.id)}
    >
      {columns.value.map((column) => {
        if (column.id === 'name') return <NameCell key="name" run={run} shown={shown} />
        if (column.id === 'state') return <StateCell key="state" run={run} />
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

function NameCell({ run, shown }: { readonly run: RunSummary; readonly shown: boolean }) {
  return (
    <th scope="row">
      <label>
        <input
          type="checkbox"
          checked={shown}
          aria-label={`Show ${run.name}`}
          onChange={(event) => {
            toggleShown(run.id)
            // Hiding the last run shows all, so the box must follow `shown` and not the click.
            event.currentTarget.checked = shown
          }}
        />
        <Swatch run={run.id} />
      </label>
      <button type="button" aria-label={run.name} title={titleOf(run)} onClick={() => showOnly(run.id)}>
        <Name name={run.name} />
      </button>
    </th>
  )
}

/** Tooltip of a name. A run of a study has its path on another line. */
const titleOf = ({ name, path }: RunSummary): string => `${name}: show only this run${path === name ? '' : `\n${path}`}`

const stateTitles: Readonly<Record<RunState, string>> = {
  running: 'Running',
  finished: 'Finished',
  stopped: 'Stopped',
  failed: 'Failed',
  unreadable: 'Unreadable',
}

function StateCell({ run }: { readonly run: RunSummary }) {
  const { state, step, steps, secondsLeft } = run
  const title = stateTitles[state]
  const left = secondsLeft === null ? '' : `, ${duration(secondsLeft)} left`
  const done = steps === null ? `step ${grouped(step)}` : `step ${grouped(step)} of ${grouped(steps)}`
  return (
    <td class={`state ${state}`} title={run.failure ?? run.problem ?? `${title}, ${done}${left}`}>
      <div>
        <Icon name={state} filled={state === 'running' || state === 'stopped'} />
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
