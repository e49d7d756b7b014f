/**
 * routing.jsonl of Choir, which may be larger than memory: a line a router and recorded step, each with its
 * experts' loads. Of a long run only every so many steps are kept (see snapshots.ts); the lines of the others are told
 * by their first bytes and never parsed, and after the first snapshot the size of the file tells how many that will be.
 */
import { isFields } from '../../config/fields.ts'
import { emptyRow, expertsOf, MAX_EXPERTS, measures, type Row, Snapshots } from './snapshots.ts'

/** What is known of the routers from the configuration. */
export interface ExpectedRouters {
  readonly routers: number
  readonly prototypes: number
}

export class RoutingLog {
  /** What is kept of the file. */
  readonly snapshots: Snapshots
  skipped = 0
  private firstStart: number | undefined
  private isEstimated = false

  constructor(expected?: ExpectedRouters) {
    this.snapshots = new Snapshots(expected?.prototypes, expected?.routers)
  }

  /** What is wrong with the file, in a sentence. */
  get problem(): string | undefined {
    const { skipped } = this
    return skipped > 0 ? `routing.jsonl: lines that are no record of a router are left out: ${skipped}` : undefined
  }

  /** @param fileSize Bytes of the whole file as far as it is written. */
  add(line: Buffer, start: number, fileSize: number): void {
    const step = leadingStep(line) ?? numberOr(parsed(line)?.step, undefined)
    if (step === undefined) {
      if (line.length > 0) this.skipped++
      return
    }
    if (step < this.snapshots.lastStep) this.snapshots.rewind(step)
    if (step > this.snapshots.lastStep) this.estimate(start, fileSize)
    const snapshot = this.snapshots.enter(step)
    if (!snapshot) return
    const record = parsed(line)
    const row = record && rowOf(record)
    if (row && typeof record.layer === 'number' && typeof record.module === 'string')
      this.snapshots.put(snapshot, record.layer, record.module.slice(0, 100), row)
    else this.skipped++
  }

  clear(): void {
    this.skipped = 0
    this.firstStart = undefined
    this.isEstimated = false
    this.snapshots.clear()
  }

  /** A step begins at a byte of the file: after the first step its bytes tell how many the file holds. */
  private estimate(start: number, fileSize: number): void {
    if (this.firstStart === undefined) this.firstStart = start
    else if (!this.isEstimated && start > this.firstStart) {
      this.isEstimated = true
      const { routers } = this.snapshots
      const row = 4 * (2 * this.snapshots.experts + measures.length)
      this.snapshots.expect(fileSize / (start - this.firstStart), routers.length * row)
    }
  }
}

const START = Buffer.from('{"step":')
const [SPACE, ZERO, COMMA] = [32, 48, 44]

/** The step of a line that begins with it, as those of Choir and Megatron-Core do, without parsing the line. */
export function leadingStep(line: Buffer): number | undefined {
  if (!line.subarray(0, START.length).equals(START)) return undefined
  let at = START.length
  while (line[at] === SPACE) at++
  const first = at
  let step = 0
  for (; at < first + 15; at++) {
    const digit = (line[at] ?? 0) - ZERO
    if (digit < 0 || digit > 9) break
    step = step * 10 + digit
  }
  return at > first && line[at] === COMMA ? step : undefined
}

/** The object of a line; undefined when it is none. */
export function parsed(line: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line.toString())
    return isFields(value) ? value : undefined
  } catch {
    return undefined
  }
}

function rowOf(record: Record<string, unknown>): Row | undefined {
  const { tokens_per_expert: before, kept_per_expert: after = before } = record
  if (!Array.isArray(before) || !Array.isArray(after)) return undefined
  if (before.length === 0 || before.length !== after.length || before.length > MAX_EXPERTS) return undefined
  const row = emptyRow(before.length)
  for (let expert = 0; expert < before.length; expert++) {
    row[expert] = numberOr(before[expert], 0)
    row[before.length + expert] = numberOr(after[expert], 0)
  }
  for (const [index, name] of measures.entries()) row[2 * expertsOf(row) + index] = numberOr(record[name], Number.NaN)
  return row
}

function numberOr<Other>(value: unknown, other: Other): number | Other {
  return typeof value === 'number' && Number.isFinite(value) ? value : other
}
