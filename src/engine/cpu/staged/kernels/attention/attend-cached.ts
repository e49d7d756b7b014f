/** Attention of the next tokens of a few texts over the key-value cache. */
import * as declared from '../../../../../core/graph/kernels/attention.ts'
import { implement, type KernelCall, type KernelTensor } from '../../contract.ts'
import { bandsOf } from '../matmul.ts'
import { offsetAt, widthOf } from '../rows.ts'

/** Floats of a cache line, to which rows in scratch memory are aligned. */
const LINE = 16
const padded = (floats: number): number => Math.ceil(floats / LINE) * LINE

/**
 * A task is a band of heads of a text, so that long runs of a row of the cache are read at once. Tasks that share a head
 * of keys may run at the same time: the task with the first of its heads of queries writes the position's row of the
 * caches, and no task reads that row.
 */
export const attendCached = implement(declared.attendCached, {
  provider: 'WASM',
  scratch(call, threads) {
    const { positions, size, bands } = shapeOf(call, threads)
    return 4 * Math.max(...bands.map(({ length }) => length)) * (2 * padded(size) + padded(positions))
  },

  prepare(call, { floats, integers, functions, scratch, threads }) {
    const { qkv, position, pages, keys, values, cos, sin } = call.inputs
    const { y, newKeys, newValues } = call.outputs
    const { heads, size, perKey, width, positions, bands } = shapeOf(call, threads)
    const { window, scale, page } = call.attributes
    const texts = qkv.shape[0] as number
    const scoreStride = padded(positions)

    /** Rotates and scales a head of queries or keys of a text. Offsets are in bytes. */
    const rotate = (text: number, from: number, to: number, factor: number) => {
      const angle = (text * size) / 2
      if (cos && sin) {
        const [cosAt, sinAt] = [offsetAt(cos, angle), offsetAt(sin, angle)]
        functions.rotateHeads(from, 4, 0, 0, to, 4, 0, 0, 1, 1, size / 2, cosAt, sinAt, factor, 1)
      } else functions.scaleHeads(from, 4, 0, 0, to, 4, 0, 0, 1, 1, size, factor)
    }
    /** Row in the caches of a position of a text. */
    const rowOf = (text: number, at: number): number => {
      const index = text * widthOf(pages) + Math.floor(at / page)
      return (integers[pages.offset / 4 + index] as number) * page + (at % page)
    }
    /** Copies a head of keys or values of the other positions of a text, if the output has its own memory. */
    const copyOthers = (from: KernelTensor, to: KernelTensor, head: number, text: number, current: number) => {
      if (from.offset === to.offset) return
      for (let at = 0; at < positions; at++) {
        const row = rowOf(text, at) * width + head
        if (at !== current) copy(offsetAt(from, row), offsetAt(to, row))
      }
    }
    const copy = (from: number, to: number) => {
      floats.copyWithin(to / 4, from / 4, from / 4 + size)
    }
    return {
      tasks: texts * bands.length,
      run(task) {
        const text = Math.floor(task / bands.length)
        const { from, length } = bands[task % bands.length] as { from: number; length: number }
        const current = integers[position.offset / 4 + text] as number
        const row = rowOf(text, current)
        const own = text * widthOf(qkv)
        const queries = scratch.offset
        const rotatedKeys = queries + 4 * length * padded(size)
        const scores = rotatedKeys + 4 * length * padded(size)
        const earlier = Math.min(current, window - 1)
        const first = current - earlier
        /** Calls `read` for the rows of a page after the other: the first row, the number of rows, and of those before. */
        const eachPage = (read: (row: number, count: number, before: number) => void) => {
          for (let at = first; at < current; ) {
            const count = Math.min(current - at, page - (at % page))
            read(rowOf(text, at), count, at - first)
            at += count
          }
        }
        const [keyOf, scoresOf] = [
          (h: number) => Math.floor((from + h) / perKey),
          (h: number) => scores + 4 * h * scoreStride,
        ]
        for (let h = 0; h < length; h++) {
          rotate(text, offsetAt(qkv, own + (from + h) * size), queries + 4 * h * size, scale.float)
          const shared = keyOf(h) * size
          const key = rotatedKeys + 4 * h * size
          rotate(text, offsetAt(qkv, own + heads * size + shared), key, 1)
          if ((from + h) % perKey > 0) continue
          copyOthers(keys, newKeys, shared, text, current)
          copyOthers(values, newValues, shared, text, current)
          copy(key, offsetAt(newKeys, row * width + shared))
          copy(offsetAt(qkv, own + heads * size + width + shared), offsetAt(newValues, row * width + shared))
        }
        const shape = [from, length, size, perKey, width, scoreStride] as const
        eachPage((row, count, before) =>
          functions.cachedScores(queries, offsetAt(keys, row * width), scores + 4 * before, count, ...shape),
        )
        for (let h = 0; h < length; h++) {
          const score = scoresOf(h) + 4 * earlier
          functions.rowTimesTransposed(queries + 4 * h * size, rotatedKeys + 4 * h * size, score, 1, size, size)
          functions.softmaxRow(scoresOf(h), earlier + 1)
        }
        const to = offsetAt(y, (text * heads + from) * size)
        floats.fill(0, to / 4, to / 4 + length * size)
        eachPage((row, count, before) =>
          functions.cachedValues(scores + 4 * before, offsetAt(values, row * width), to, count, ...shape),
        )
        for (let h = 0; h < length; h++) {
          const value = offsetAt(qkv, own + heads * size + width + keyOf(h) * size)
          functions.addTimes(to + 4 * h * size, value, floats[scoresOf(h) / 4 + earlier] as number, size)
        }
      },
    }
  },
})

/**
 * Sizes of the heads, and the bands. If there are enough heads of keys for all threads, bands have whole heads of keys.
 */
function shapeOf(
  { attributes: { heads, sequence }, inputs: { keys }, outputs: { y } }: KernelCall<typeof declared.attendCached>,
  threads: number,
) {
  const size = widthOf(y) / heads
  const width = widthOf(keys)
  const perKey = (heads * size) / width
  const bands = bandsOf(heads, threads, heads / perKey >= threads ? perKey : 1)
  return { heads, size, perKey, width, positions: sequence, bands }
}
