/**
 * The records of ranks in metrics.jsonl: times and loads by rank and step. A long run keeps only evenly spaced records.
 * A resumed run may have another number of ranks.
 */
import { overOthers, sumOf } from '../../../core/averages.ts'
import type { RanksOfSteps } from '../api.ts'

const fields = ['compute_ms', 'all_to_all_ms', 'all_reduce_ms', 'wait_ms', 'waited_for_ms', 'kept_per_rank'] as const
type Field = (typeof fields)[number]

interface Row {
  readonly step: number
  /** Numbers by rank for each field; NaN where the file has no number. */
  readonly values: Readonly<Record<Field, Float32Array>>
}

/** Limit of numbers in memory: 4 MiB. */
const MAX_NUMBERS = 1 << 20
/** More than any training has: a damaged file must not fill the memory. */
const MAX_RANKS = 1 << 14

/** Longest time that a rank took for the step, in milliseconds. */
const longest = ({ values: { compute_ms: compute, all_to_all_ms, all_reduce_ms, wait_ms } }: Row): number =>
  Math.max(...compute.map((ms, rank) => ms + sumOf([all_to_all_ms, all_reduce_ms, wait_ms].map((of) => of[rank] || 0))))

export class RankLog {
  private rows: Row[] = []
  private readonly maxNumbers: number
  /** Number of records in the file, and of records per kept record. */
  private records = 0
  private stride = 1

  constructor(maxNumbers = MAX_NUMBERS) {
    this.maxNumbers = maxNumbers
  }

  get isEmpty(): boolean {
    return this.rows.length === 0
  }

  /** @param record A parsed line of kind `ranks`, which may contain anything. */
  add(step: number, record: Readonly<Record<string, unknown>>): void {
    const { compute_ms: compute } = record
    if (!Array.isArray(compute) || compute.length === 0 || compute.length > MAX_RANKS) return
    if (this.records++ % this.stride !== 0) return
    const listOf = (field: Field): Float32Array => {
      const list: unknown = record[field]
      const numbers = Array.isArray(list) ? list : []
      return Float32Array.from(compute, (_, rank) => (typeof numbers[rank] === 'number' ? numbers[rank] : Number.NaN))
    }
    const values = Object.fromEntries(fields.map((field) => [field, listOf(field)])) as Record<Field, Float32Array>
    this.rows.push({ step, values })
    while (this.rows.length > 2 && this.rows.length * fields.length * compute.length > this.maxNumbers) {
      this.rows = this.rows.filter((_, index) => index % 2 === 0)
      this.stride *= 2
    }
  }

  /** Drops the records of `step` and later ones, which a resumed run has written again. */
  cutFrom(step: number): void {
    this.rows = this.rows.filter((row) => row.step < step)
    this.records = this.rows.length * this.stride
  }

  /**
   * Means by rank over the last `span` kept records up to a step. The longest tenth of these steps is left out, so that
   * a single pause does not hide the other steps.
   * @param step Last step. If it has no record, the nearest earlier record is the last, or else the first record.
   * Default: the newest.
   */
  ranks(span: number, step = Number.POSITIVE_INFINITY): Omit<RanksOfSteps, 'run' | 'roster'> | undefined {
    const { rows } = this
    const last = Math.max(
      0,
      rows.findLastIndex((row) => row.step <= step),
    )
    const newest = rows[last]
    if (!newest) return undefined
    const count = newest.values.compute_ms.length
    const window = rows.slice(Math.max(0, last + 1 - span), last + 1)
    // Steps with another number of ranks are left out too.
    const same = window.filter(({ values }) => values.compute_ms.length === count)
    const used = same.toSorted((a, b) => longest(a) - longest(b)).slice(0, same.length - Math.floor(same.length / 10))
    const means = (field: Field): (number | null)[] =>
      Array.from({ length: count }, (_, rank) => {
        const values = used.map((row) => row.values[field][rank] as number).filter(Number.isFinite)
        return values.length > 0 ? sumOf(values) / values.length : null
      })
    const compute = means('compute_ms')
    const known = compute.map((ms) => ms ?? 0)
    return {
      steps: rows.map((row) => row.step),
      of: this.records,
      from: same[0]?.step ?? newest.step,
      to: newest.step,
      used: used.length,
      compute,
      computeOverOthers: known.map((_, rank) => overOthers(known, rank)),
      allToAll: means('all_to_all_ms'),
      allReduce: means('all_reduce_ms'),
      wait: means('wait_ms'),
      waitedFor: means('waited_for_ms'),
      kept: means('kept_per_rank'),
    }
  }
}
