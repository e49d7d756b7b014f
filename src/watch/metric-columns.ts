/**
 * metrics.jsonl as columns. Records of a kind (`train`, `eval`) are a table with a row a step, in the order of steps,
 * and a column a field; a field that a line does not have, or has no number for, is NaN there. Training and
 * evaluation are different tables because they come at different steps.
 *
 * A line of a step that was there before comes from a run that was resumed: it takes back its table from that step
 * on, and a training step takes back the evaluations behind it too.
 */

const KINDS: ReadonlySet<string> = new Set(['train', 'eval'])
/** More fields than a record of any version has: a file of invented names must not fill the memory. */
const MOST_FIELDS = 256
const LONGEST_NAME = 100

/** Numbers that grow at the end. */
class Column {
  private values: Float64Array
  length: number

  /** @param missing Rows before the first value. */
  constructor(missing = 0) {
    this.values = new Float64Array(Math.max(64, 2 * missing)).fill(Number.NaN, 0, missing)
    this.length = missing
  }

  push(value: number): void {
    if (this.length === this.values.length) {
      const grown = new Float64Array(2 * this.length)
      grown.set(this.values)
      this.values = grown
    }
    this.values[this.length++] = value
  }

  all(): Float64Array {
    return this.values.subarray(0, this.length)
  }
}

export class MetricTable {
  private readonly steps = new Column()
  private readonly columns = new Map<string, Column>()

  get length(): number {
    return this.steps.length
  }

  get lastStep(): number {
    return this.steps.all().at(-1) ?? Number.NEGATIVE_INFINITY
  }

  /** Names of the fields that had a number somewhere, in the order in which they came. */
  get names(): string[] {
    return [...this.columns.keys()]
  }

  /** Values by row; they are lent until the next line comes. */
  column(name: string): Float64Array | undefined {
    return name === 'step' ? this.steps.all() : this.columns.get(name)?.all()
  }

  /** The newest value that is a finite number. */
  last(name: string): number | null {
    return this.column(name)?.findLast(Number.isFinite) ?? null
  }

  /** A row behind the others. */
  add(step: number, record: Readonly<Record<string, unknown>>): void {
    for (const [name, value] of Object.entries(record)) {
      if (name === 'step' || typeof value !== 'number') continue
      this.known(name)?.push(value)
    }
    this.steps.push(step)
    for (const column of this.columns.values()) if (column.length < this.length) column.push(Number.NaN)
  }

  /** Drops the rows of `step` and later ones. */
  cutFrom(step: number): void {
    const length = lowerBound(this.steps.all(), step)
    for (const column of [this.steps, ...this.columns.values()]) column.length = length
  }

  private known(name: string): Column | undefined {
    const found = this.columns.get(name)
    if (found || this.columns.size >= MOST_FIELDS || name.length > LONGEST_NAME) return found
    const column = new Column(this.length)
    this.columns.set(name, column)
    return column
  }
}

export class MetricColumns {
  /** Lines taken, and lines that are no record. */
  lines = 0
  skipped = 0
  private tables = new Map<string, MetricTable>()
  private firstProblem: string | undefined

  /** What is wrong with the file, in a sentence; undefined when every line was a record. */
  get problem(): string | undefined {
    return this.firstProblem && `metrics.jsonl: ${this.firstProblem}; lines left out: ${this.skipped}`
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

  private take(line: Buffer): string | undefined {
    let record: unknown
    try {
      record = JSON.parse(line.toString())
    } catch {
      return line.length === 0 ? undefined : 'is not JSON'
    }
    if (!isRecord(record)) return 'is no object'
    const { kind, step } = record
    if (typeof kind !== 'string' || !KINDS.has(kind)) return 'is of no known kind (expected train or eval)'
    if (typeof step !== 'number' || !Number.isFinite(step)) return 'has no step'
    const table = this.tables.get(kind) ?? new MetricTable()
    this.tables.set(kind, table)
    if (step <= table.lastStep) {
      table.cutFrom(step)
      if (kind === 'train') this.tables.get('eval')?.cutFrom(step)
    }
    table.add(step, record)
    return undefined
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
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
