/** Shapes of attention: its heads, tasks and blocks of queries, and what they need. */
import type { AttentionAttributes } from '../../../../../core/graph/kernels/attention.ts'
import type { KernelTensor } from '../../contract.ts'

/** Most queries in a block. More make better products, but the causal mask hides more of their scores. */
const MAX_BLOCK = 64
/** The same for queries that see at least {@link MANY_KEYS}. */
const MAX_LONG_BLOCK = 128
const MANY_KEYS = 1024
/** Most heads of keys in a task; fewer for long sequences. */
const MAX_HEADS = 4
/** Most floats in the scores of a block, unless a single head has more. */
const MAX_SCORES = 2 ** 17
/** Most keys in a tile. */
const MAX_KEYS = 512
/** With a window the keys of a block begin at a multiple of this. */
const KEY_STEP = 16

export interface Shape {
  readonly batch: number
  readonly sequence: number
  /** Heads of keys, and of values. */
  readonly keyHeads: number
  /** Turns of a task: heads of queries that share a head of keys. */
  readonly turns: number
  /** Width of a head. */
  readonly size: number
  readonly scale: number
  /** Most positions that a query sees. */
  readonly window: number
  /** Floats from the q, k, v of a token to those of the next. */
  readonly stride: number
  /** Floats from q to k: the width of all queries. */
  readonly width: number
  /** Floats from k to v. */
  readonly keyWidth: number
  /** Heads of keys of a task, a divisor of `keyHeads`. */
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

/** Most floats in the scores of a block and a head. */
function blockScoresOfHead(sequence: number, window: number): number {
  const rows = blockRows(sequence, window)
  return rows * Math.min(sequence, window + rows + KEY_STEP)
}

/** Bytes of whole cache lines. */
export const bytesFor = (floats: number): number => Math.ceil(floats / 16) * 64

/** Queries `from` to `from + rows` (exclusive), which see some of the `keys` keys from `first` on, up to the last query. */
export interface QueryBlock {
  readonly from: number
  readonly rows: number
  readonly first: number
  readonly keys: number
}

/** The blocks of a sequence, of near-equal length. */
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
  /** Whether it has the first keys of the block. */
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

/** Most floats of the scores of a block, of all heads of a task. */
export const blockScores = ({ sequence, window, headsPerTask }: Shape): number =>
  headsPerTask * blockScoresOfHead(sequence, window)

/** Most floats of the scores of a tile, of all heads of a task. */
export const tileScores = ({ sequence, window, headsPerTask }: Shape): number =>
  headsPerTask * blockRows(sequence, window) * Math.min(sequence, MAX_KEYS)

export function flopsOf({ batch, sequence, window, width }: Shape, products: number): number {
  const most = Math.min(sequence, window)
  // Pairs that see each other: the first queries of a sequence see fewer keys.
  const pairs = sequence * most - (most * (most - 1)) / 2
  return products * 2 * batch * pairs * width
}
