/**
 * Arena kernels in WebAssembly SIMD, in place, on their own threads.
 *
 * Results are bitwise equal for any number of threads: element-wise kernels do not depend on where a range
 * is cut, and a sum adds parts whose cuts depend only on the range.
 */
import { type ArenaRange, changeRange } from '../../contract/arena.ts'
import {
  ADAFACTOR_BLOCK,
  type AdafactorRange,
  type AdafactorSettings,
  type AdamwRange,
  type AdamwSettings,
  type Addition,
  type ArenaKernels,
  adafactorStateSize,
  blockRows,
  type CompactAdamwRange,
  type Gate,
  type GateOptions,
  type LoadBias,
  MAX_SQUARES,
  type RowScatter,
} from '../../contract/arena-kernels.ts'
import type { CompactState } from '../../contract/moments.ts'
import type { NodeTime } from '../../contract/times.ts'
import { address } from './address.ts'
import { compactCalls } from './compact-adamw.ts'
import type { ArenaFunctions } from './module.ts'
import { type Call, Pool } from './pool.ts'

/** @throws RuntimeError if the kernels have not been built. */
export async function createArenaKernels(threads: number): Promise<ArenaKernels> {
  return new WasmKernels(threads, await Pool.start(threads))
}

/** Minimum number of floats in a part of a sum; smaller parts are not worth a call. */
const MIN_PART = 512 * 1024
/** Maximum number of parts of a sum; so many parts spread evenly over the threads of a machine. */
const MAX_PARTS = 128

class WasmKernels implements ArenaKernels {
  readonly threads: number
  private readonly pool: Pool
  private readonly times = new Map<string, { runs: number; microseconds: number }>()

  constructor(threads: number, pool: Pool) {
    this.threads = threads
    this.pool = pool
  }

  async gate(ranges: readonly ArenaRange[], { clip, all, closed = false, finite = [] }: GateOptions): Promise<Gate> {
    const own = await this.sumsOfSquares(ranges)
    const squares = addUp(all ? await all(own) : own)
    const norm = squares >= MAX_SQUARES ? Number.POSITIVE_INFINITY : Math.sqrt(squares)
    const isOpen = !closed && finite.every((values) => values.every(Number.isFinite)) && Number.isFinite(norm)
    return { norm, scale: clip > 0 && norm > clip ? clip / norm : 1, isOpen }
  }

  async balance(biases: readonly LoadBias[], rate: number, { isOpen }: Gate): Promise<void> {
    if (!isOpen) return
    for (const { known, enqueued, ...range } of biases) {
      const loads = Array.from(known, (load, e) => load + (enqueued?.[e] ?? 0))
      const mean = loads.reduce((sum, load) => sum + load, 0) / loads.length
      await changeRange(range, (bias_N) => {
        loads.forEach((load, e) => {
          bias_N[e] = (bias_N[e] as number) + rate * Math.sign(mean - load)
        })
      })
    }
  }

  async adamw(ranges: readonly AdamwRange[], settings: AdamwSettings, gate: Gate): Promise<void> {
    if (!gate.isOpen) return
    const { beta1, beta2, size, correction, epsilon } = settings
    const [first, second] = [settings.first * gate.scale, settings.second * gate.scale ** 2]
    const lists: Call[][] = Array.from({ length: this.threads }, () => [])
    for (const { arena, p, g, m, v, count, keep, factor = 1 } of ranges)
      splitRange(count, this.threads).forEach(({ from, length }, thread) => {
        const arrays = [p, g, m, v].map((start) => address(arena, start + from, length))
        const args = [...arrays, length, first, second, beta1, beta2, factor * size, correction, epsilon, keep]
        lists[thread]?.push({ arena, args })
      })
    await this.run('adamw', lists, floatsOf(ranges))
  }

  async adamwCompact(
    state: CompactState,
    ranges: readonly CompactAdamwRange[],
    settings: AdamwSettings,
    gate: Gate,
  ): Promise<void> {
    if (gate.isOpen) await this.run(...compactCalls(state, ranges, settings, gate, this.threads))
  }

  async adafactor(
    ranges: readonly AdafactorRange[],
    { beta, rate }: AdafactorSettings,
    { scale, isOpen }: Gate,
  ): Promise<void> {
    if (!isOpen) return
    const settings = [scale, beta, rate] as const
    const stacks = ranges.map((range): Stack => {
      const { rows, columns } = range
      return rows === null
        ? { ...range, size: columns, shape: [columns] }
        : { ...range, size: rows * columns, shape: [rows, columns, blockRows(rows, columns)] }
    })
    const matrices = stacks.filter(({ rows }) => rows !== null)
    const vectors = stacks.filter(({ rows }) => rows === null)
    const total = sizeOf(matrices)
    // A thread takes whole matrices, so that every pass after the first finds the matrix in the cache. Only matrices
    // for which other threads would wait are cut.
    const isLarge = ({ size }: Stack) => this.threads > 1 && size > ADAFACTOR_BLOCK && 8 * this.threads * size > total
    const large = matrices.filter(isLarge)
    if (large.length > 0) await this.adafactorInBlocks(large, settings)
    const small = matrices.filter((stack) => !isLarge(stack))
    await this.run('adafactorMatrices', this.inShares(small, settings), sizeOf(small))
    await this.run('adafactorVectors', this.inShares(vectors, settings), sizeOf(vectors))
  }

  /** Runs Adafactor pass by pass over all blocks, with the same operations as on a whole matrix. */
  private async adafactorInBlocks(
    stacks: readonly Stack[],
    [scale, beta, rate]: readonly [number, number, number],
  ): Promise<void> {
    const matrices = stacks.flatMap((stack) => Array.from({ length: stack.count }, (_, i) => slice(stack, i, 1)))
    const blocks = matrices.flatMap((matrix, index) => {
      const { arena, shape, keep } = matrix
      const [rows = 0, , blockRows = 1] = shape
      const [p = 0, g = 0, state = 0] = addresses(matrix)
      return Array.from({ length: Math.ceil(rows / blockRows) }, (_, block) => {
        return { arena, p, g, state, block: [...shape, block], keep, index }
      })
    })
    const inBlocks = async (kernel: keyof ArenaFunctions, args: (block: (typeof blocks)[number]) => number[]) =>
      (await this.run(kernel, this.inOrder(blocks.map((block) => ({ arena: block.arena, args: args(block) }))))).flat()
    await inBlocks('adafactorSquares', ({ g, state, block }) => [g, state, ...block, scale])
    const factors = matrices.map(({ arena, state, shape }) => ({ arena, args: [state * 4, ...shape, scale, beta] }))
    await this.run('adafactorFactors', this.inOrder(factors))
    const parts = await inBlocks('adafactorDirection', ({ g, state, block }) => [g, state, ...block])
    const sizes = matrices.map(({ size, factor = 1 }, matrix) => {
      const squares = parts.reduce((sum, part, i) => (blocks[i]?.index === matrix ? sum + part : sum), 0)
      return (factor * rate) / Math.max(1, Math.sqrt(squares / size))
    })
    await inBlocks('adafactorUpdate', ({ p, g, state, block, keep, index }) => {
      return [p, g, state, ...block, sizes[index] as number, keep]
    })
  }

  /**
   * The sum of squares of each range, in float64, with a relative error below 1e-10 for 4 GiB. It is not finite if and
   * only if some element is not.
   */
  private async sumsOfSquares(ranges: readonly ArenaRange[]): Promise<number[]> {
    const parts = ranges.flatMap(({ arena, start, count }, range) =>
      splitRange(count, Math.min(MAX_PARTS, Math.ceil(count / MIN_PART))).map(({ from, length }) => ({
        range,
        call: { arena, args: [address(arena, start + from, length), length] },
      })),
    )
    const calls = this.inOrder(parts.map(({ call }) => call))
    const results = (await this.run('sumOfSquares', calls, floatsOf(ranges))).flat()
    const sums = ranges.map(() => 0)
    for (const [i, { range }] of parts.entries()) sums[range] = (sums[range] as number) + (results[i] as number)
    return sums
  }

  async add(additions: readonly Addition[]): Promise<void> {
    const lists: Call[][] = Array.from({ length: this.threads }, () => [])
    for (const { arena, to, from, count } of additions)
      splitRange(count, this.threads).forEach((part, thread) => {
        const addresses = [to, from].map((start) => address(arena, start + part.from, part.length))
        lists[thread]?.push({ arena, args: [...addresses, part.length] })
      })
    await this.run('add', lists, floatsOf(additions))
  }

  async scatterAddRows({ arena, table, tableRows, rows, indices, rowCount, width }: RowScatter): Promise<void> {
    const at = {
      table: address(arena, table, tableRows * width),
      rows: address(arena, rows, rowCount * width),
      indices: address(arena, indices, rowCount),
    }
    // Every thread adds all rows, but only in its own columns.
    const lists = splitRange(width, this.threads).map(({ from, length }): Call[] => [
      { arena, args: [at.table + from * 4, tableRows, at.rows + from * 4, at.indices, rowCount, width, length] },
    ])
    await this.run('scatterAddRows', lists, rowCount * width)
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

  /** Gives each thread about the same number of calls, in order, so that the flattened results match the calls. */
  private inOrder(calls: readonly Call[]): Call[][] {
    const share = (thread: number) => Math.round((calls.length * thread) / this.threads)
    return Array.from({ length: this.threads }, (_, thread) => calls.slice(share(thread), share(thread + 1)))
  }

  /** Gives each thread about the same number of floats, in whole tensors. */
  private inShares(stacks: readonly Stack[], [scale, beta, rate]: readonly [number, number, number]): Call[][] {
    const share = sizeOf(stacks) / this.threads
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
        const { arena, count, shape, keep, factor = 1 } = tensors
        return [{ arena, args: [...addresses(tensors), count, ...shape, scale, beta, factor * rate, keep] }]
      })
    })
  }

  /**
   * Runs calls on the threads, and counts their time.
   * @param floats Number of elements that the calls read or change.
   */
  private async run(
    kernel: keyof ArenaFunctions,
    lists: readonly (readonly Call[])[],
    floats = Number.POSITIVE_INFINITY,
  ): Promise<number[][]> {
    const begin = performance.now()
    const results = await this.pool.run(kernel, lists, floats)
    const { runs, microseconds } = this.times.get(kernel) ?? { runs: 0, microseconds: 0 }
    this.times.set(kernel, { runs: runs + 1, microseconds: microseconds + (performance.now() - begin) * 1000 })
    return results
  }
}

const floatsOf = (ranges: readonly { readonly count: number }[]): number =>
  ranges.reduce((sum, { count }) => sum + count, 0)

const addUp = (sums: readonly number[]): number => sums.reduce((sum, value) => sum + value, 0)

/** Tensors of one shape for Adafactor; `shape` is [rows, columns, rows of a block] or [elements]. */
interface Stack extends AdafactorRange {
  readonly size: number
  readonly shape: readonly number[]
}

const sizeOf = (stacks: readonly Stack[]): number => stacks.reduce((sum, { count, size }) => sum + count * size, 0)

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

/** Cuts `count` floats into at most `parts` nearly equal pieces at whole cache lines. No piece is empty. */
function splitRange(count: number, parts: number): { from: number; length: number }[] {
  const line = 16
  const bound = (part: number) => (part === parts ? count : Math.floor((count * part) / parts / line) * line)
  return Array.from({ length: parts }, (_, part) => {
    const from = bound(part)
    return { from, length: bound(part + 1) - from }
  }).filter(({ length }) => length > 0)
}
