/** Rounds a matrix of weights to bfloat16, or to int8 or int4 by groups. */
import { nearestBfloat16 } from '../../../core/bfloat16.ts'
import {
  type Bits,
  BLOCK,
  blocksOf,
  groupBytes,
  groupRows,
  groupsOf,
  quantizedBytes,
  weightBytes,
} from '../../../core/graph/quantized-layout.ts'

/** A matrix w [inner, columns]; transposed, its memory is [columns, inner]. */
export interface MatrixShape {
  readonly inner: number
  readonly columns: number
  readonly transposed: boolean
}

const float = new Float32Array(1)
const floatBits = new Uint32Array(float.buffer)

/** The least bfloat16 that is not below `value`, which is at least 0. NaN and infinity are returned unchanged. */
function roundedUp(value: number): number {
  float[0] = value
  const all = floatBits[0] as number
  if (all & 0xffff && Number.isFinite(value)) floatBits[0] = (all & 0xffff0000) + 0x10000
  return float[0]
}

/**
 * Rounds each weight to scale·q, in place, and writes scales and q to `packed` in the layout of
 * src/core/graph/quantized-layout.ts.
 *
 * 16 bits: the nearest bfloat16, ties to even, so a weight changes by at most 2⁻⁸ of itself, and weights that were
 * trained in bfloat16 do not change. 8 bits: the scale of a group is max |w| / 127, rounded up to a bfloat16, so a weight
 * changes by at most half of the scale: |w − scale·q| ≤ max |w| / 254 · (1 + 2⁻⁷). 4 bits: the weight with the largest |w| becomes −8·scale (as in the
 * format q4_0 of llama.cpp), so a weight changes by at most |scale| / 2, or by |scale| if it is nearly as large and has
 * the other sign: |scale| ≤ max |w| / 8 · (1 + 2⁻⁷).
 * @param packed Bytes of the matrix, which begin at a multiple of 4.
 */
export function roundMatrix(
  weights: Float32Array,
  { inner, columns, transposed }: MatrixShape,
  bits: Bits,
  packed: Uint8Array,
): void {
  if (bits === 16) {
    roundToBfloat16(weights, { inner, columns, transposed }, packed)
    return
  }
  const [rowStep, columnStep] = transposed ? [1, inner] : [columns, 1]
  const [group, size, bound] = [groupRows(bits), groupBytes(bits), weightBytes(bits)]
  const bytes = new Int8Array(packed.buffer, packed.byteOffset, packed.byteLength)
  const words = new Uint16Array(packed.buffer, packed.byteOffset, packed.byteLength / 2)
  packed.fill(0)
  let at = 0
  for (let block = 0; block < blocksOf(columns); block++)
    for (let g = 0; g < groupsOf(bits, inner); g++, at += size) {
      const rows = Math.min(group, inner - g * group)
      const width = Math.min(BLOCK, columns - block * BLOCK)
      const first = g * group * rowStep + block * BLOCK * columnStep
      // 0 is stored as 8, also in rows and columns of padding.
      if (bits === 4) words.fill(0x8888, at / 2, (at + bound) / 2)
      for (let column = 0; column < width; column++) {
        const from = first + column * columnStep
        const extreme = extremeOf(weights, from, rowStep, rows)
        const scale =
          bits === 4 ? -Math.sign(extreme) * roundedUp(Math.abs(extreme) / 8) : roundedUp(Math.abs(extreme) / 127)
        float[0] = scale
        words[(at + bound) / 2 + column] = (floatBits[0] as number) >>> 16
        // A group whose scale is 0 or not finite has no q: its weights become 0, or NaN.
        if (scale === 0 || scale - scale !== 0) fillColumn(weights, from, rowStep, rows, 0 * scale)
        else if (bits === 8) roundColumn8(weights, from, rowStep, rows, scale, bytes, at + 2 * column)
        else roundColumn4(weights, from, rowStep, rows, scale, words, at / 2, column)
      }
    }
}

/**
 * The nearest integer to x, |x| < 1,024, halves upwards, as `Math.round(x)`, which takes several times as long. The sum is
 * rounded, but never over an integer: x is a float32 over a bfloat16, so unless it is a half, it is at least 2⁻²⁶ from one.
 */
const nearest = (x: number): number => ((x + 1024.5) | 0) - 1024

/** Rounds the weights of a group in a column. @param at Place of the first q in `bytes`. */
function roundColumn8(
  weights: Float32Array,
  from: number,
  step: number,
  rows: number,
  scale: number,
  bytes: Int8Array,
  at: number,
): void {
  for (let row = 0, i = from; row < rows; row++, i += step) {
    const weight = weights[i] as number
    const q = nearest(weight / scale)
    // A weight that becomes 0 keeps its sign.
    weights[i] = q === 0 ? 0 * weight : q * scale
    bytes[at + (row >> 1) * 2 * BLOCK + (row & 1)] = q
  }
}

/** Rounds the weights of a group in a column. @param at Place of the first word of the group, whose numbers are 8. */
function roundColumn4(
  weights: Float32Array,
  from: number,
  step: number,
  rows: number,
  scale: number,
  words: Uint16Array,
  at: number,
  column: number,
): void {
  const shift = (column >> 2) * 4
  const first = at + (column & 3) * 2
  for (let row = 0, i = from; row < rows; row++, i += step) {
    const weight = weights[i] as number
    const q = Math.min(7, nearest(weight / scale))
    weights[i] = q === 0 ? 0 * weight : q * scale
    const word = first + (row >> 1) * (BLOCK / 2) + (row & 1)
    words[word] = (words[word] as number) ^ ((8 ^ (q + 8)) << shift)
  }
}

function fillColumn(weights: Float32Array, from: number, step: number, rows: number, value: number): void {
  for (let row = 0, i = from; row < rows; row++, i += step) weights[i] = value
}

/** A small matrix after rounding: its bytes change with the rounding, and with the layout. */
export function roundedSample(bits: Bits): Uint8Array {
  const shape = { inner: 70, columns: 18, transposed: false }
  const packed = new Uint8Array(quantizedBytes(bits, shape.inner, shape.columns))
  const weights = Float32Array.from({ length: shape.inner * shape.columns }, (_, i) => ((i * 7919) % 1013) / 512 - 1)
  roundMatrix(weights, shape, bits, packed)
  return packed
}

/** {@link roundMatrix} for 16 bits. */
function roundToBfloat16(weights: Float32Array, { inner, columns, transposed }: MatrixShape, packed: Uint8Array): void {
  const halves = new Uint16Array(packed.buffer, packed.byteOffset, packed.byteLength / 2)
  const [rowStep, columnStep] = transposed ? [1, inner] : [columns, 1]
  halves.fill(0)
  for (let block = 0, at = 0; block < columns; block += BLOCK, at += groupRows(16) * groupsOf(16, inner) * BLOCK)
    for (let row = 0; row < inner; row++)
      for (let column = block; column < Math.min(columns, block + BLOCK); column++) {
        const i = row * rowStep + column * columnStep
        float[0] = weights[i] as number
        const half = nearestBfloat16(floatBits[0] as number)
        halves[at + row * BLOCK + column - block] = half
        floatBits[0] = half << 16
        weights[i] = float[0]
      }
}

/** The weight with the largest absolute value, the last one of several; NaN if one is NaN. */
function extremeOf(weights: Float32Array, from: number, step: number, count: number): number {
  let largest = 0
  let extreme = 0
  for (let row = 0, i = from; row < count; row++, i += step) {
    const weight = weights[i] as number
    const size = Math.abs(weight)
    if (size >= largest) {
      largest = size
      extreme = weight
    } else if (Number.isNaN(size)) return Number.NaN
  }
  return extreme
}
