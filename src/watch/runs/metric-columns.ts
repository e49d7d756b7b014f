/**
 * metrics.jsonl as columns. Records of a kind (`train`, `eval`) are a table with a row a step, in the order of steps,
 * and a column a field; a field that a line does not have, or has no number for, is NaN there. Training and
 * evaluation are different tables because they come at different steps.
 *
 * Of an evaluation under other capacity rules the fields are columns too, such as `dropless/loss`.
 *
 * A line of a step that was there before comes from a run that was resumed: it takes back its table from that step
 * on, and a training step takes back the evaluations behind it too.
 *
 * A table that becomes too large makes one row of every two, and from then on of as many lines: the row has the step
 * of the last of them, and of every field the newest number, so that a field that few lines have is not lost.
 */
import { isFields } from '../../config/fields.ts'
import { capacityScalars } from '../../run/capacity-scalars.ts'

const KINDS: ReadonlySet<string> = new Set(['train', 'eval'])
/** More fields than a record of any version has: a file of invented names must not fill the memory. */
const MAX_FIELDS = 256
const MAX_NAME_LENGTH = 100
/** Numbers of a table: 128 MiB, at most twice that while columns grow; or 20 metrics over 800,000 lines. */
const MAX_NUMBERS = 1 << 24

/** Numbers by row; NaN in every row that was not set. Memory is touched only as far as there are rows. */
class Column {
  private values = new Float64Array(64)
  /** Rows that hold a number or NaN. */
  private known = 0

  set(row: number, value: number): void {
    this.reach(row)
    this.grow(row + 1)
    this.values[row] = value
    this.known = Math.max(this.known, row + 1)
  }

  /** The first rows. */
  first(rows: number): Float64Array {
    this.reach(rows)
    return this.values.subarray(0, rows)
  }

  /** Unsets rows `from` to before `to`. */
  unset(from: number, to: number): void {
    this.values.fill(Number.NaN, from, Math.min(to, this.known))
  }

  /** One row of every two of the first `rows`: the later, where it has a number. */
  halve(rows: number): void {
    const values = this.first(rows)
    const left = Math.ceil(rows / 2)
    for (let row = 0; row < left; row++) {
      const [earlier = Number.NaN, later = Number.NaN] = [values[2 * row], values[2 * row + 1]]
      values[row] = Number.isNaN(later) ? earlier : later
    }
    this.unset(left, rows)
  }

  private reach(rows: number): void {
    if (rows <= this.known) return
    this.grow(rows)
    this.values.fill(Number.NaN, this.known, rows)
    this.known = rows
  }

  private grow(rows: number): void {
    if (rows <= this.values.length) return
    const grown = new Float64Array(Math.max(2 * this.values.length, rows))
    grown.set(this.values.subarray(0, this.known))
    this.values = grown
  }
}

export class MetricTable {
  /** Rows. */
  length = 0
  /** Lines that a row stands for. */
  stride = 1
  /** Whether there were fields that have no column. */
  isNarrowed = false
  private readonly mostNumbers: number
  private readonly steps = new Column()
  private readonly times = new Column()
  private readonly columns = new Map<string, Column>()
  /** Lines that the last row stands for, so far. */
  private filled = 0

  constructor(mostNumbers: number) {
    this.mostNumbers = mostNumbers
  }

  get lastStep(): number {
    return this.steps.first(this.length).at(-1) ?? Number.NEGATIVE_INFINITY
  }

  /** Names of the fields that had a number somewhere, in the order in which they came. */
  get names(): string[] {
    return [...this.columns.keys()]
  }

  /** Values by row; they are lent until the next line comes. */
  column(name: string): Float64Array | undefined {
    return name === 'step' ? this.steps.first(this.length) : this.columns.get(name)?.first(this.length)
  }

  /** Sum of `step_ms` up to each row, in seconds; lent as columns are. */
  get seconds(): Float64Array {
    return this.times.first(this.length)
  }

  /** The newest value that is a finite number. */
  last(name: string): number | null {
    return this.column(name)?.findLast(Number.isFinite) ?? null
  }

  /** A line behind the others. */
  add(step: number, record: Readonly<Record<string, unknown>>): void {
    const { step_ms } = record
    const seconds =
      (this.seconds.at(-1) ?? 0) + (typeof step_ms === 'number' && Number.isFinite(step_ms) ? step_ms / 1000 : 0)
    this.beginLine()
    this.steps.set(this.length - 1, step)
    this.times.set(this.length - 1, seconds)
    for (const [name, value] of Object.entries(record)) {
      if (name === 'step' || typeof value !== 'number') continue
      // A new column may need room, which moves the row.
      const column = this.known(name)
      column?.set(this.length - 1, value)
    }
  }

  /** Drops the rows of `step` and later ones. */
  cutFrom(step: number): void {
    const length = lowerBound(this.steps.first(this.length), step)
    for (const column of this.all()) column.unset(length, this.length)
    this.length = length
    this.filled = this.stride
  }

  /** Its place is the last row. */
  private beginLine(): void {
    if (this.length > 0 && this.filled < this.stride) {
      this.filled++
      return
    }
    this.length++
    this.filled = 1
    this.makeRoom()
  }

  private known(name: string): Column | undefined {
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
    while (this.length > 1 && this.length * (this.columns.size + 2) > this.mostNumbers) {
      for (const column of this.all()) column.halve(this.length)
      // The last row joins the one before it, or has none to join.
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
  /** Lines taken, and lines that are no record. */
  lines = 0
  skipped = 0
  private readonly mostNumbers: number
  private tables = new Map<string, MetricTable>()
  private firstProblem: string | undefined

  /** @param mostNumbers That a table may hold. */
  constructor(mostNumbers = MAX_NUMBERS) {
    this.mostNumbers = mostNumbers
  }

  /** What is wrong with the file, or is not shown of it, in a sentence; undefined when there is all of it. */
  get problem(): string | undefined {
    const what = this.firstProblem ? `${this.firstProblem}; lines left out: ${this.skipped}` : this.tooMuch()
    return what && `metrics.jsonl: ${what}`
  }

  add(line: Buffer): void {
    this.lines++
    const problem = this.take(line)
    if (problem === undefined) return
    this.skipped++
    this.firstProblem ??= `line ${this.lines} ${problem}`
  }

  clear(): void {
    this.lines = this.skipped = 0
    this.tables = new Map()
    this.firstProblem = undefined
  }

  table(kind: string): MetricTable | undefined {
    return this.tables.get(kind)
  }

  /** As `train/loss`. What only says where on the x axis a record stands is no metric. */
  names(): string[] {
    return [...this.tables].flatMap(([kind, { names }]) =>
      names.filter((name) => name !== 'tokens').map((name) => `${kind}/${name}`),
    )
  }

  private tooMuch(): string | undefined {
    for (const [kind, { stride, isNarrowed }] of this.tables) {
      if (isNarrowed) return `fields beyond ${MAX_FIELDS}, or of more than ${MAX_NAME_LENGTH} characters, are left out`
      if (stride > 1) return `there are so many numbers that every ${stride} lines of kind ${kind} are shown as one`
    }
    return undefined
  }

  private take(line: Buffer): string | undefined {
    if (line.length === 0) return undefined
    const record = parsedLine(line)
    if (record === undefined) return 'is not JSON'
    if (!isFields(record)) return 'is no object'
    const { kind, step } = record
    if (typeof kind !== 'string' || !KINDS.has(kind)) return 'is of no known kind (expected train or eval)'
    if (typeof step !== 'number' || !Number.isFinite(step)) return 'has no step'
    const table = this.tables.get(kind) ?? new MetricTable(this.mostNumbers)
    this.tables.set(kind, table)
    if (step <= table.lastStep) {
      table.cutFrom(step)
      if (kind === 'train') this.tables.get('eval')?.cutFrom(step)
    }
    table.add(step, kind === 'eval' ? { ...record, ...capacityScalars(record) } : record)
    return undefined
  }
}

/** Undefined when it is not JSON. Python writes numbers that JSON lacks; they are null here, as Choir writes them. */
function parsedLine(line: Buffer): unknown {
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

/** Where the first of ascending values is that is `value` or more. */
export function lowerBound(ascending: ArrayLike<number>, value: number): number {
  let [low, high] = [0, ascending.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((ascending[middle] ?? Number.POSITIVE_INFINITY) < value) low = middle + 1
    else high = middle
  }
  return low
}
