/** Columns of the table of runs: fixed columns, and one for each configuration field that the user adds. */

import { compact, dash, grouped } from '../../../src/core/text/numbers.ts'
import type { RunSummary } from '../../../src/faces/watch/api.ts'

export interface Column {
  readonly id: string
  readonly title: string
  /** The sort key. */
  readonly value: (run: RunSummary) => string | number | null
  /** Text of a cell; undefined if the table has a special cell for the column. */
  readonly text?: (run: RunSummary) => string
  /** Explanation of a cell, for its tooltip; by default its text. */
  readonly hint?: (run: RunSummary) => string
  readonly numeric: boolean
  /** Formats a number of the column. */
  readonly format?: (value: number) => string
  /**
   * Width in pixels. The column of the name has it as a minimum: it takes the width that other columns leave, until the
   * user sets its width.
   */
  readonly width: number
}

const digits = (value: number | null) => (value === null ? dash : value.toFixed(3))
const states = ['running', 'failed', 'stopped', 'unreadable', 'finished']
/** Sorts by state, then by progress. */
const stateAndProgress = ({ state, step, steps }: RunSummary) =>
  states.indexOf(state) + (steps ? Math.min(0.999, step / steps) : 0)

/** A run of a training that evaluates on a part of the held-out text. */
const isOnPart = ({ heldOutPart }: RunSummary): boolean => heldOutPart !== undefined

/**
 * The columns for these runs. An evaluation on a part of the held-out text is named so: others give another number. The
 * longer title takes its room from the names, so that the table fits into its default width.
 */
export function fixedColumnsFor(runs: readonly RunSummary[]): readonly Column[] {
  if (!runs.some(isOnPart)) return fixedColumns
  const widths: Readonly<Record<string, Partial<Column>>> = {
    name: { width: 196 },
    held_out: { title: 'Held-out, part', width: 106 },
  }
  return fixedColumns.map((column) => ({ ...column, ...widths[column.id] }))
}

function heldOutHint({ heldOutLoss, heldOutPart }: RunSummary): string {
  if (heldOutLoss === null) return dash
  const last = `${digits(heldOutLoss)} nats a token in the last evaluation during training`
  return heldOutPart === undefined
    ? last
    : `${last}, on ${grouped(heldOutPart)} tokens only (train.evalBatches). choir eval and the report of a study use all held-out text.`
}

export const fixedColumns: readonly Column[] = [
  { id: 'name', title: 'Run', value: ({ name }) => name, numeric: false, width: 226 },
  { id: 'state', title: 'State', value: stateAndProgress, numeric: false, width: 104 },
  {
    id: 'loss',
    title: 'Loss',
    value: ({ loss }) => loss,
    text: ({ loss }) => digits(loss),
    format: digits,
    numeric: true,
    width: 64,
  },
  {
    id: 'held_out',
    title: 'Held-out',
    value: ({ heldOutLoss }) => heldOutLoss,
    text: ({ heldOutLoss }) => digits(heldOutLoss),
    hint: heldOutHint,
    format: digits,
    numeric: true,
    width: 76,
  },
  {
    id: 'tokens_per_second',
    title: 'Tokens/s',
    value: ({ tokensPerSecond }) => tokensPerSecond,
    text: ({ tokensPerSecond }) => (tokensPerSecond === null ? dash : compact(tokensPerSecond)),
    format: compact,
    numeric: true,
    width: 76,
  },
]

export function configColumn(field: string): Column {
  const fieldOf = (run: RunSummary) => (Object.hasOwn(run.config, field) ? run.config[field] : undefined)
  return {
    id: field,
    title: field,
    value: (run) => {
      const value = fieldOf(run)
      return typeof value === 'boolean' ? String(value) : (value ?? null)
    },
    text: (run) => {
      const value = fieldOf(run)
      return value === undefined ? dash : String(value)
    },
    numeric: false,
    width: 130,
  }
}

/** Sorts numbers in names by value: k2 before k10. */
const collator = new Intl.Collator('en', { numeric: true, sensitivity: 'base' })

/** Runs without a value come last in both directions; ties are sorted by name. */
export function sorted(runs: readonly RunSummary[], { value }: Column, descending: boolean): readonly RunSummary[] {
  const keyed = runs.map((run) => ({ run, key: value(run) }))
  keyed.sort((one, other) => {
    if (one.key === null || other.key === null) {
      if (one.key !== other.key) return one.key === null ? 1 : -1
    } else {
      const order =
        typeof one.key === 'number' && typeof other.key === 'number'
          ? one.key - other.key
          : collator.compare(String(one.key), String(other.key))
      if (order !== 0) return descending ? -order : order
    }
    return collator.compare(one.run.name, other.run.name)
  })
  return keyed.map(({ run }) => run)
}
