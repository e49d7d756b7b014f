/**
 * Kernels: what is one pass over memory in WebAssembly SIMD and several passes as a graph. They work in
 * place on arenas, on threads of their own.
 *
 * A result is bitwise the same for any number of threads: element-wise kernels do not care where a
 * range is cut, and a sum adds parts whose cuts depend on the range alone.
 */
import type { Arena } from '../arena.ts'
import type { NodeTime } from '../contract.ts'
import { type Call, Pool } from './pool.ts'

/** `count` elements of an arena from `start`, counted in floats. */
export interface Range {
  readonly arena: Arena
  readonly start: number
  readonly count: number
}

/** Parameters, gradients and moments in one arena: where each starts, and how many there are, in floats. */
export interface AdamwRange {
  readonly arena: Arena
  readonly p: number
  readonly g: number
  readonly m: number
  readonly v: number
  readonly count: number
  /** 1 − learning rate · weight decay. */
  readonly keep: number
}

/** Coefficients of m ← β₁m + first·g, v ← β₂v + second·g², p ← keep·p − size·m / (correction·√v + ε). */
export interface AdamwSettings {
  readonly first: number
  readonly second: number
  readonly beta1: number
  readonly beta2: number
  readonly size: number
  readonly correction: number
  readonly epsilon: number
}

/** table[indices[r]] += rows[r]. Offsets count in floats; all arrays lie in one arena. */
export interface RowScatter {
  readonly arena: Arena
  /** [tableRows, width]. */
  readonly table: number
  readonly tableRows: number
  /** [rowCount, width]. */
  readonly rows: number
  /** [rowCount], int32; a row may come several times. */
  readonly indices: number
  readonly rowCount: number
  readonly width: number
}

export interface Kernels {
  readonly threads: number
  /** AdamW in place, in float32. */
  adamw(ranges: readonly AdamwRange[], settings: AdamwSettings): Promise<void>
  /** In float64, relative error below 1e-10 for 4 GiB; not finite exactly when some element is not. */
  sumOfSquares(ranges: readonly Range[]): Promise<number>
  /** Adds rows to rows of a table, in float32, in the order of the rows. */
  scatterAddRows(scatter: RowScatter): Promise<void>
  /** Time of each kernel since creation. */
  profile(): readonly NodeTime[]
  /** Waits for kernels that run, and ends the threads. Idempotent. */
  close(): Promise<void>
}

/** @throws RuntimeError when the kernels have not been built. */
export async function createKernels({ threads }: { readonly threads: number }): Promise<Kernels> {
  return new WasmKernels(threads, await Pool.start(threads))
}

/** Floats below which a part of a sum is not worth a call. */
const leastPart = 64 * 1024
/** Parts of a sum, at most: they spread evenly over a machine's threads. */
const mostParts = 128

class WasmKernels implements Kernels {
  readonly threads: number
  private readonly pool: Pool
  private readonly times = new Map<string, { runs: number; microseconds: number }>()

  constructor(threads: number, pool: Pool) {
    this.threads = threads
    this.pool = pool
  }

  async adamw(ranges: readonly AdamwRange[], settings: AdamwSettings): Promise<void> {
    const { first, second, beta1, beta2, size, correction, epsilon } = settings
    const lists: Call[][] = Array.from({ length: this.threads }, () => [])
    for (const { arena, p, g, m, v, count, keep } of ranges)
      cut(count, this.threads).forEach(({ from, length }, thread) => {
        const arrays = [p, g, m, v].map((start) => address(arena, start + from, length))
        const args = [...arrays, length, first, second, beta1, beta2, size, correction, epsilon, keep]
        lists[thread]?.push({ arena, args })
      })
    await this.run('adamw', lists)
  }

  async sumOfSquares(ranges: readonly Range[]): Promise<number> {
    const calls = ranges.flatMap(({ arena, start, count }) =>
      cut(count, Math.min(mostParts, Math.ceil(count / leastPart))).map(
        ({ from, length }): Call => ({ arena, args: [address(arena, start + from, length), length] }),
      ),
    )
    const share = (thread: number) => Math.round((calls.length * thread) / this.threads)
    const lists = Array.from({ length: this.threads }, (_, thread) => calls.slice(share(thread), share(thread + 1)))
    const parts = await this.run('sumOfSquares', lists)
    return parts.flat().reduce((total, part) => total + part, 0)
  }

  async scatterAddRows({ arena, table, tableRows, rows, indices, rowCount, width }: RowScatter): Promise<void> {
    const at = {
      table: address(arena, table, tableRows * width),
      rows: address(arena, rows, rowCount * width),
      indices: address(arena, indices, rowCount),
    }
    // Every thread adds all rows, to columns of its own.
    const lists = cut(width, this.threads).map(({ from, length }): Call[] => [
      { arena, args: [at.table + from * 4, tableRows, at.rows + from * 4, at.indices, rowCount, width, length] },
    ])
    await this.run('scatterAddRows', lists)
  }

  profile(): readonly NodeTime[] {
    return [...this.times].map(([kind, time]) => ({ kind, op: 'kernel', layer: '', ...time }))
  }

  close(): Promise<void> {
    return this.pool.close()
  }

  private async run(kernel: string, lists: readonly (readonly Call[])[]): Promise<number[][]> {
    const begun = performance.now()
    const results = await this.pool.run(kernel, lists)
    const { runs, microseconds } = this.times.get(kernel) ?? { runs: 0, microseconds: 0 }
    this.times.set(kernel, { runs: runs + 1, microseconds: microseconds + (performance.now() - begun) * 1000 })
    return results
  }
}

/** Cuts `count` floats into at most `parts` near-equal pieces at whole cache lines; none is empty. */
function cut(count: number, parts: number): { from: number; length: number }[] {
  const line = 16
  const bound = (part: number) => (part === parts ? count : Math.floor((count * part) / parts / line) * line)
  return Array.from({ length: parts }, (_, part) => {
    const from = bound(part)
    return { from, length: bound(part + 1) - from }
  }).filter(({ length }) => length > 0)
}

/** The byte at which an array begins. @throws Error when it does not lie in the arena. */
function address(arena: Arena, start: number, count: number): number {
  if (!(start >= 0 && count >= 0 && (start + count) * 4 <= arena.byteLength))
    throw new Error(`internal: ${count} floats from ${start} do not lie in an arena of ${arena.byteLength} bytes`)
  return start * 4
}
