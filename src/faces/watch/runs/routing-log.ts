/**
 * routing.jsonl of Choir, which may be larger than memory: one line per router and recorded step, with the loads of
 * its experts. A long run keeps only evenly spaced steps (see snapshots.ts); the lines of other steps are recognised by
 * their first bytes and never parsed. The spacing is estimated after the first snapshot, from the size of the file.
 */
import { isFields } from '../../../core/config/fields.ts'
import { measures, numberOr, rowOf, Snapshots } from './snapshots.ts'

/** Number of routers and prototypes, from the configuration. */
export interface ExpectedRouters {
  readonly routers: number
  readonly prototypes: number
}

export class RoutingLog {
  readonly snapshots: Snapshots
  skipped = 0
  private firstStart: number | undefined
  private isEstimated = false

  constructor(expected?: ExpectedRouters) {
    this.snapshots = new Snapshots(expected?.prototypes, expected?.routers)
  }

  /** A message about invalid lines, if there are any. */
  get problem(): string | undefined {
    const { skipped } = this
    return skipped > 0 ? `routing.jsonl: lines that are not records of a router are left out: ${skipped}` : undefined
  }

  /** @param fileSize Bytes of the file so far. */
  add(line: Buffer, start: number, fileSize: number): void {
    const step = leadingStep(line) ?? numberOr(parseObject(line)?.step, undefined)
    if (step === undefined) {
      if (line.length > 0) this.skipped++
      return
    }
    if (step < this.snapshots.lastStep) this.snapshots.rewind(step)
    if (step > this.snapshots.lastStep) this.estimate(start, fileSize)
    const snapshot = this.snapshots.enter(step)
    if (!snapshot) return
    const record = parseObject(line)
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

  /** Estimates the number of snapshots in the file from the bytes of the first one. */
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

/** Reads the step without parsing the line. Lines of Choir and of Megatron-Core begin with it. */
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

/** The object in a line; undefined if there is none. */
export function parseObject(line: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line.toString())
    return isFields(value) ? value : undefined
  } catch {
    return undefined
  }
}
