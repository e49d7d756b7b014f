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

/** Tensors that lie one after the other, each updated by Adafactor on its own. Offsets count in floats. */
export interface AdafactorRange {
  readonly arena: Arena
  readonly p: number
  readonly g: number
  /**
   * For each tensor in turn {@link adafactorStateSize} floats, zero before the first update. Of a matrix: mean
   * squares of the rows, then of the columns, then memory for the kernel. Of a vector: its second moment.
   */
  readonly state: number
  /** Tensors. */
  readonly count: number
  /** null = vectors of `columns` elements. */
  readonly rows: number | null
  readonly columns: number
  /** 1 − learning rate · weight decay. */
  readonly keep: number
}

export interface AdafactorSettings {
  /** The gradient is multiplied by it. */
  readonly scale: number
  /** Decay of the second moment, β₂. */
  readonly beta: number
  readonly rate: number
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
  /** Adafactor in place, in float32 (Shazeer and Stern 2018, algorithms 4 and 5, without momentum). */
  adafactor(ranges: readonly AdafactorRange[], settings: AdafactorSettings): Promise<void>
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

/** Floats of state of a tensor. */
export function adafactorStateSize(rows: number | null, columns: number): number {
  return rows === null ? columns : 2 * rows + (1 + Math.ceil(rows / blockRows(rows, columns))) * columns
}

/** Floats in a block of rows, about, and blocks of a matrix, at most. */
const blockSize = 2 ** 20
const mostBlocks = 64

/** Rows of a block. It depends on the matrix alone, and so do the bits of an update. */
function blockRows(rows: number, columns: number): number {
  return Math.ceil(rows / Math.min(mostBlocks, Math.ceil((rows * columns) / blockSize)))
}

/** Floats below which a part of a sum is not worth a call. */
const leastPart = 512 * 1024
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

  async adafactor(ranges: readonly AdafactorRange[], settings: AdafactorSettings): Promise<void> {
    const { scale, beta, rate } = settings
    const stacks = ranges.map((range): Stack => {
      const { rows, columns } = range
      return rows === null
        ? { ...range, size: columns, shape: [columns] }
        : { ...range, size: rows * columns, shape: [rows, columns, blockRows(rows, columns)] }
    })
    const matrices = stacks.filter(({ rows }) => rows !== null)
    const vectors = stacks.filter(({ rows }) => rows === null)
    const total = matrices.reduce((sum, { count, size }) => sum + count * size, 0)
    // A thread takes whole matrices, so that each pass over one finds it in a cache; only those are cut
    // for which other threads would wait.
    const isLarge = ({ size }: Stack) => this.threads > 1 && size > blockSize && 8 * this.threads * size > total
    const large = matrices.filter(isLarge)
    if (large.length > 0) await this.adafactorInBlocks(large, settings)
    const small = matrices.filter((stack) => !isLarge(stack))
    await this.run('adafactorMatrices', this.inShares(small, [scale, beta, rate]))
    await this.run('adafactorVectors', this.inShares(vectors, [scale, beta, rate]))
  }

  /** Pass by pass over all blocks: the same operations as when one thread takes a whole matrix. */
  private async adafactorInBlocks(stacks: readonly Stack[], settings: AdafactorSettings): Promise<void> {
    const { scale, beta, rate } = settings
    const matrices = stacks.flatMap((stack) => Array.from({ length: stack.count }, (_, i) => slice(stack, i, 1)))
    const blocks = matrices.flatMap((matrix, index) => {
      const { arena, shape, keep } = matrix
      const [rows = 0, , blockRows = 1] = shape
      const [p = 0, g = 0, state = 0] = addresses(matrix)
      return Array.from({ length: Math.ceil(rows / blockRows) }, (_, block) => {
        return { arena, p, g, state, block: [...shape, block], keep, index }
      })
    })
    const inBlocks = async (kernel: string, args: (block: (typeof blocks)[number]) => number[]) =>
      (await this.run(kernel, this.inOrder(blocks.map((block) => ({ arena: block.arena, args: args(block) }))))).flat()
    await inBlocks('adafactorSquares', ({ g, state, block }) => [g, state, ...block, scale])
    const factors = matrices.map(({ arena, state, shape }) => ({ arena, args: [state * 4, ...shape, scale, beta] }))
    await this.run('adafactorFactors', this.inOrder(factors))
    const parts = await inBlocks('adafactorDirection', ({ g, state, block }) => [g, state, ...block])
    const sizes = matrices.map(({ size }, matrix) => {
      const squares = parts.reduce((sum, part, i) => (blocks[i]?.index === matrix ? sum + part : sum), 0)
      return rate / Math.max(1, Math.sqrt(squares / size))
    })
    await inBlocks('adafactorUpdate', ({ p, g, state, block, keep, index }) => {
      return [p, g, state, ...block, sizes[index] as number, keep]
    })
  }

  async sumOfSquares(ranges: readonly Range[]): Promise<number> {
    const calls = ranges.flatMap(({ arena, start, count }) =>
      cut(count, Math.min(mostParts, Math.ceil(count / leastPart))).map(
        ({ from, length }): Call => ({ arena, args: [address(arena, start + from, length), length] }),
      ),
    )
    const parts = await this.run('sumOfSquares', this.inOrder(calls))
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
    return [...this.times].map(([kind, time]) => ({
      kind,
      provider: 'WASM' as const,
      op: 'kernel',
      layer: '',
      ...time,
    }))
  }

  close(): Promise<void> {
    return this.pool.close()
  }

  /** As many calls for each thread, in order: the results of all lists are those of the calls. */
  private inOrder(calls: readonly Call[]): Call[][] {
    const share = (thread: number) => Math.round((calls.length * thread) / this.threads)
    return Array.from({ length: this.threads }, (_, thread) => calls.slice(share(thread), share(thread + 1)))
  }

  /** About as many floats for each thread, in whole tensors. */
  private inShares(stacks: readonly Stack[], settings: readonly number[]): Call[][] {
    const share = stacks.reduce((sum, { count, size }) => sum + count * size, 0) / this.threads
    return Array.from({ length: this.threads }, (_, thread) => {
      let before = 0
      return stacks.flatMap((stack): Call[] => {
        const bound = (floats: number) => Math.min(stack.count, Math.max(0, Math.round((floats - before) / stack.size)))
        const [from, to] = [
          bound(share * thread),
          thread === this.threads - 1 ? stack.count : bound(share * (thread + 1)),
        ]
        before += stack.count * stack.size
        if (to <= from) return []
        const tensors = slice(stack, from, to - from)
        const { arena, count, shape, keep } = tensors
        return [{ arena, args: [...addresses(tensors), count, ...shape, ...settings, keep] }]
      })
    })
  }

  private async run(kernel: string, lists: readonly (readonly Call[])[]): Promise<number[][]> {
    const begun = performance.now()
    const results = await this.pool.run(kernel, lists)
    const { runs, microseconds } = this.times.get(kernel) ?? { runs: 0, microseconds: 0 }
    this.times.set(kernel, { runs: runs + 1, microseconds: microseconds + (performance.now() - begun) * 1000 })
    return results
  }
}

/** Adafactor's tensors of a shape, as the kernels take it: [rows, columns, rows of a block], or [elements]. */
interface Stack extends AdafactorRange {
  readonly size: number
  readonly shape: readonly number[]
}

function slice(stack: Stack, from: number, count: number): Stack {
  const { p, g, state, size, rows, columns } = stack
  const at = { p: p + from * size, g: g + from * size, state: state + from * adafactorStateSize(rows, columns) }
  return { ...stack, ...at, count }
}

function addresses({ arena, p, g, state, count, size, rows, columns }: Stack): number[] {
  const floats = count * size
  const stateFloats = count * adafactorStateSize(rows, columns)
  return [address(arena, p, floats), address(arena, g, floats), address(arena, state, stateFloats)]
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
