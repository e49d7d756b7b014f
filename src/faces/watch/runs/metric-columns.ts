/**
 * metrics.jsonl as columns. Each kind of record (`train`, `eval`, `ranks`) is a table with one row per step, in order,
 * and one column per field; missing fields and values that are not numbers are NaN. Training and evaluation are
 * separate tables because they happen at different steps.
 *
 * Lists by rank, in records of ranks, are kept apart (rank-log.ts).
 *
 * The results of an evaluation under other capacity rules are columns too, such as `dropless/loss`. The fields of routers
 * are no columns of a model without experts.
 *
 * A line that repeats an earlier step comes from a resumed run: it drops the rows of its table from that step on, and
 * a training step also drops the evaluations and records of ranks from there on.
 *
 * A table that becomes too large merges every two rows into one, and from then on as many new lines become one row. A
 * merged row has the step of its last line and the newest number of each field, so that rare fields are not lost.
 */
import { bisectLeft } from 'd3-array'
import { isFields } from '../../../core/config/fields.ts'
import { telling } from '../../../core/model/routing/statistics.ts'
import { capacityScalars } from '../../../train/run/capacity-scalars.ts'
import { RankLog } from './rank-log.ts'

const KINDS: ReadonlySet<string> = new Set(['train', 'eval', 'ranks'])
/** More than any record has: a file of invented names must not fill the memory. */
const MAX_FIELDS = 256
const MAX_NAME_LENGTH = 100
/** Bounds of the list of faults of routers. */
const MAX_FAULTS = { count: 64, characters: 400 } as const
/**
 * Limit of the numbers of a table: 128 MiB, and up to twice as much while columns grow. It is enough for 20 metrics
 * over 800,000 lines.
 */
const MAX_NUMBERS = 1 << 24

/** Numbers by row; NaN where no number is set. */
class Column {
  private values = new Float64Array(64)
  /** Number of rows that are initialised, with a number or NaN. */
  private initialised = 0

  set(row: number, value: number): void {
    this.initialise(row)
    this.grow(row + 1)
    this.values[row] = value
    this.initialised = Math.max(this.initialised, row + 1)
  }

  /** The numbers of the first `rows` rows. */
  first(rows: number): Float64Array {
    this.initialise(rows)
    return this.values.subarray(0, rows)
  }

  /** Sets rows `from` up to but excluding `to` to NaN. */
  unset(from: number, to: number): void {
    this.values.fill(Number.NaN, from, Math.min(to, this.initialised))
  }

  /** Merges every two of the first `rows` rows into the later value, or into the earlier where the later is NaN. */
  halve(rows: number): void {
    const values = this.first(rows)
    const half = Math.ceil(rows / 2)
    for (let row = 0; row < half; row++) {
      const [earlier = Number.NaN, later = Number.NaN] = [values[2 * row], values[2 * row + 1]]
      values[row] = Number.isNaN(later) ? earlier : later
    }
    this.unset(half, rows)
  }

  private initialise(rows: number): void {
    if (rows <= this.initialised) return
    this.grow(rows)
    this.values.fill(Number.NaN, this.initialised, rows)
    this.initialised = rows
  }

  private grow(rows: number): void {
    if (rows <= this.values.length) return
    const grown = new Float64Array(Math.max(2 * this.values.length, rows))
    grown.set(this.values.subarray(0, this.initialised))
    this.values = grown
  }
}

export class MetricTable {
  /** Number of rows. */
  length = 0
  /** Number of lines per row. */
  stride = 1
  /** Whether some fields have no column. */
  isNarrowed = false
  private readonly maxNumbers: number
  private readonly steps = new Column()
  private readonly times = new Column()
  private readonly columns = new Map<string, Column>()
  /** Number of lines merged into the last row so far. */
  private filled = 0

  constructor(maxNumbers: number) {
    this.maxNumbers = maxNumbers
  }

  get lastStep(): number {
    return this.steps.first(this.length).at(-1) ?? Number.NEGATIVE_INFINITY
  }

  /** Names of the fields that had a number, in order of appearance. */
  get names(): string[] {
    return [...this.columns.keys()]
  }

  /** Values by row: a view, valid until the next line is added. */
  column(name: string): Float64Array | undefined {
    return name === 'step' ? this.steps.first(this.length) : this.columns.get(name)?.first(this.length)
  }

  /** Sum of `step_ms` up to each row, in seconds: a view like `column`. */
  get seconds(): Float64Array {
    return this.times.first(this.length)
  }

  /** The newest finite value. */
  last(name: string): number | null {
    return this.column(name)?.findLast(Number.isFinite) ?? null
  }

  /** Appends a line. */
  add(step: number, record: Readonly<Record<string, unknown>>): void {
    const { step_ms } = record
    const seconds =
      (this.seconds.at(-1) ?? 0) + (typeof step_ms === 'number' && Number.isFinite(step_ms) ? step_ms / 1000 : 0)
    this.beginLine()
    this.steps.set(this.length - 1, step)
    this.times.set(this.length - 1, seconds)
    for (const [name, value] of Object.entries(record)) {
      if (name === 'step' || typeof value !== 'number') continue
      // A new column may merge rows, which changes `length`.
      const column = this.columnFor(name)
      column?.set(this.length - 1, value)
    }
  }

  /** Drops the rows of `step` and later ones. */
  cutFrom(step: number): void {
    const length = bisectLeft(this.steps.first(this.length), step)
    for (const column of this.all()) column.unset(length, this.length)
    this.length = length
    this.filled = this.stride
  }

  /** Makes the last row the row of a new line. */
  private beginLine(): void {
    if (this.length > 0 && this.filled < this.stride) {
      this.filled++
      return
    }
    this.length++
    this.filled = 1
    this.makeRoom()
  }

  private columnFor(name: string): Column | undefined {
    const found = this.columns.get(name)
    if (found) return found
    if (this.columns.size >= MAX_FIELDS || name.length > MAX_NAME_LENGTH) {
      this.isNarrowed = true
      return undefined
    }
    const column = new Column()
    this.columns.set(name, column)
    this.makeRoom()
    return column
  }

  private makeRoom(): void {
    while (this.length > 1 && this.length * (this.columns.size + 2) > this.maxNumbers) {
      for (const column of this.all()) column.halve(this.length)
      // With an even number of rows, the last is merged into the one before it.
      if (this.length % 2 === 0) this.filled += this.stride
      this.length = Math.ceil(this.length / 2)
      this.stride *= 2
    }
  }

  private all(): Column[] {
    return [this.steps, this.times, ...this.columns.values()]
  }
}

export class MetricColumns {
  /** Number of all lines, and of the invalid lines among them. */
  lines = 0
  skipped = 0
  /** Number of steps in a row, up to the last one, that were skipped because they were not finite. */
  nonFiniteInRow = 0
  /** Faults of routers that the training has named last, and not taken back. */
  routerFaults: readonly string[] = []
  private faultsAt = Number.NEGATIVE_INFINITY
  ranks = new RankLog()
  private readonly maxNumbers: number
  private tables = new Map<string, MetricTable>()
  private firstProblem: string | undefined

  /** @param maxNumbers Limit of each table. */
  constructor(maxNumbers = MAX_NUMBERS) {
    this.maxNumbers = maxNumbers
  }

  /** A message about invalid lines or reduced data; undefined if the file is shown completely. */
  get problem(): string | undefined {
    const message = this.firstProblem ? `${this.firstProblem}; lines left out: ${this.skipped}` : this.reduction()
    return message && `metrics.jsonl: ${message}`
  }

  add(line: Buffer): void {
    this.lines++
    const problem = this.read(line)
    if (problem === undefined) return
    this.skipped++
    this.firstProblem ??= `line ${this.lines} ${problem}`
  }

  clear(): void {
    this.lines = this.skipped = this.nonFiniteInRow = 0
    this.tables = new Map()
    this.ranks = new RankLog()
    this.firstProblem = undefined
    this.routerFaults = []
    this.faultsAt = Number.NEGATIVE_INFINITY
  }

  table(kind: string): MetricTable | undefined {
    return this.tables.get(kind)
  }

  /** Names such as `train/loss`. Step and tokens are positions on the x axis, not metrics. */
  names(): string[] {
    return [...this.tables].flatMap(([kind, { names }]) =>
      names.filter((name) => name !== 'tokens').map((name) => `${kind}/${name}`),
    )
  }

  private reduction(): string | undefined {
    for (const [kind, { stride, isNarrowed }] of this.tables) {
      if (isNarrowed) return `fields beyond ${MAX_FIELDS}, or of more than ${MAX_NAME_LENGTH} characters, are left out`
      if (stride > 1) return `the file is so large that every ${stride} lines of kind ${kind} are shown as one`
    }
    return undefined
  }

  private read(line: Buffer): string | undefined {
    if (line.length === 0) return undefined
    const record = parseLine(line)
    if (record === undefined) return 'is not JSON'
    if (!isFields(record)) return 'is not an object'
    const { kind, step } = record
    if (typeof kind !== 'string' || !KINDS.has(kind)) return 'has an unknown kind (expected train, eval or ranks)'
    if (typeof step !== 'number' || !Number.isFinite(step)) return 'has no step'
    const table = this.tables.get(kind) ?? new MetricTable(this.maxNumbers)
    this.tables.set(kind, table)
    if (step <= table.lastStep) {
      table.cutFrom(step)
      if (kind === 'train') for (const other of ['eval', 'ranks']) this.tables.get(other)?.cutFrom(step)
      if (kind !== 'eval') this.ranks.cutFrom(step)
    }
    if (kind === 'ranks') this.ranks.add(step, record)
    if (kind === 'train') {
      this.nonFiniteInRow = record.skipped === true ? this.nonFiniteInRow + 1 : 0
      this.readFaults(step, record.router_faults)
    }
    table.add(step, telling(kind === 'eval' ? { ...record, ...capacityScalars(record) } : record))
    return undefined
  }

  private readFaults(step: number, faults: unknown): void {
    // A resumed run begins a new window.
    if (step <= this.faultsAt) this.routerFaults = []
    if (!Array.isArray(faults)) return
    const texts = faults.filter((fault): fault is string => typeof fault === 'string')
    this.routerFaults = texts.slice(0, MAX_FAULTS.count).map((text) => text.slice(0, MAX_FAULTS.characters))
    this.faultsAt = step
  }
}

/** Parses a line; undefined if it is not JSON. NaN and Infinity of Python become null, as Choir writes them. */
function parseLine(line: Buffer): unknown {
  const text = line.toString()
  try {
    return JSON.parse(text)
  } catch {
    if (!/NaN|Infinity/.test(text)) return undefined
  }
  try {
    return JSON.parse(text.replace(/([[,:]\s*)(?:NaN|-?Infinity)(?=\s*[\],}])/g, '$1null'))
  } catch {
    return undefined
  }
}
