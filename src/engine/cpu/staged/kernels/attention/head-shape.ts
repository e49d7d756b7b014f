/** Shapes of attention: its heads, tasks and blocks of queries, with their memory and operations. */
import type { AttentionAttributes } from '../../../../../core/graph/kernels/attention.ts'
import type { KernelTensor } from '../../contract.ts'

/** Maximum number of queries in a block. More queries make better products, but the causal mask hides more scores. */
const MAX_BLOCK = 64
/** Maximum number of queries in a block if queries see at least {@link MANY_KEYS}. */
const MAX_LONG_BLOCK = 128
const MANY_KEYS = 1024
/** Maximum number of heads of keys in a task; it is smaller for long sequences. */
const MAX_HEADS = 4
/** Maximum number of floats in the scores of a block, unless a single head has more. */
const MAX_SCORES = 2 ** 17
/** Maximum number of keys in a tile. */
const MAX_KEYS = 512
/** Multiple to which the first key of a block is rounded down, with a window. */
const KEY_STEP = 16

export interface Shape {
  readonly batch: number
  readonly sequence: number
  /** Number of heads of keys, and of values. */
  readonly keyHeads: number
  /** Number of turns of a task: the number of heads of queries that share a head of keys. */
  readonly turns: number
  /** Width of a head. */
  readonly size: number
  readonly scale: number
  /** Largest number of positions that a query sees. */
  readonly window: number
  /** Floats from the q, k, v of a token to the q, k, v of the next. */
  readonly stride: number
  /** Floats from q to k: the width of all queries. */
  readonly width: number
  /** Floats from k to v. */
  readonly keyWidth: number
  /** Number of heads of keys in a task, a divisor of `keyHeads`. */
  readonly headsPerTask: number
}

export function shapeOf({
  attributes: { batch, sequence, heads, keyHeads, window, scale },
  inputs: { qkv },
}: {
  readonly attributes: AttentionAttributes
  readonly inputs: { readonly qkv: KernelTensor }
}): Shape {
  const stride = qkv.shape.at(-1) as number
  const size = stride / (heads + 2 * keyHeads)
  let headsPerTask = Math.min(
    MAX_HEADS,
    keyHeads,
    Math.max(1, Math.floor(MAX_SCORES / blockScoresOfHead(sequence, window))),
  )
  while (keyHeads % headsPerTask !== 0) headsPerTask--
  const widths = { size, stride, width: heads * size, keyWidth: keyHeads * size }
  return { batch, sequence, keyHeads, turns: heads / keyHeads, ...widths, scale: scale.float, window, headsPerTask }
}

const blockRows = (sequence: number, window: number): number =>
  Math.min(sequence, window) < MANY_KEYS ? MAX_BLOCK : MAX_LONG_BLOCK

/** Largest number of floats in the scores of a block and a head. */
function blockScoresOfHead(sequence: number, window: number): number {
  const rows = blockRows(sequence, window)
  return rows * Math.min(sequence, window + rows + KEY_STEP)
}

/** Bytes of so many floats, in whole cache lines. */
export const bytesFor = (floats: number): number => Math.ceil(floats / 16) * 64

/** A block of queries: `from` to `from + rows` (exclusive). They see some of the `keys` keys from `first` on. */
export interface QueryBlock {
  readonly from: number
  readonly rows: number
  readonly first: number
  readonly keys: number
}

/** The blocks of a sequence, of nearly equal length. */
export function blocksOf({ sequence, window }: Shape): QueryBlock[] {
  const count = Math.ceil(sequence / blockRows(sequence, window))
  return Array.from({ length: count }, (_, i) => {
    const [from, end] = [Math.floor((sequence * i) / count), Math.floor((sequence * (i + 1)) / count)]
    const first = Math.floor(Math.max(0, from - window + 1) / KEY_STEP) * KEY_STEP
    return { from, rows: end - from, first, keys: end - first }
  })
}

/** The keys of a tile that a block of queries sees. */
export interface Tile extends QueryBlock {
  /** Whether the tile has the first keys of the block. */
  readonly starts: boolean
}

/** Pairs of a tile of keys and a block of queries that sees some of them, tile by tile. */
export function tilesOf(shape: Shape): Tile[] {
  const blocks = blocksOf(shape)
  const count = Math.ceil(shape.sequence / MAX_KEYS)
  return Array.from({ length: count }, (_, i) => {
    const [start, end] = [0, 1].map((next) => Math.floor((shape.sequence * (i + next)) / count)) as [number, number]
    return blocks.flatMap(({ from, rows, first, keys }) => {
      const [begin, stop] = [Math.max(first, start), Math.min(first + keys, end)]
      return begin < stop ? [{ from, rows, first: begin, keys: stop - begin, starts: begin === first }] : []
    })
  }).flat()
}

/** Largest number of floats in the scores of a block, of all heads of a task. */
export const blockScores = ({ sequence, window, headsPerTask }: Shape): number =>
  headsPerTask * blockScoresOfHead(sequence, window)

/** Largest number of floats in the scores of a tile, of all heads of a task. */
export const tileScores = ({ sequence, window, headsPerTask }: Shape): number =>
  headsPerTask * blockRows(sequence, window) * Math.min(sequence, MAX_KEYS)

export function flopsOf({ batch, sequence, window, width }: Shape, products: number): number {
  const most = Math.min(sequence, window)
  // The pairs of a query and a key that it sees; the first queries of a sequence see fewer keys.
  const pairs = sequence * most - (most * (most - 1)) / 2
  return products * 2 * batch * pairs * width
}
