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
 * trained in bfloat16 do not change. 8 bits: the scale of a group is max |w| / 127, rounded up to a bfloat16, so a weight changes by at most half of the
 * scale: |w − scale·q| ≤ max |w| / 254 · (1 + 2⁻⁷). 4 bits: the weight with the largest |w| becomes −8·scale (as in the
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
  const quantized = new Int8Array(packed.buffer, packed.byteOffset, packed.byteLength)
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
        for (let row = 0; row < rows; row++) {
          const i = from + row * rowStep
          const nearest = scale === 0 ? 0 : Math.round((weights[i] as number) / scale)
          const q = bits === 4 ? Math.min(7, nearest) : nearest
          weights[i] = q * scale
          if (bits === 8) quantized[at + (row >> 1) * 2 * BLOCK + 2 * column + (row & 1)] = q
          else {
            const word = (at + (row >> 1) * BLOCK) / 2 + (column & 3) * 2 + (row & 1)
            // A weight that is not finite has a scale that is NaN.
            words[word] = (words[word] as number) ^ ((8 ^ ((q || 0) + 8)) << ((column >> 2) * 4))
          }
        }
      }
    }
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

/** The weight with the largest absolute value; NaN if one is NaN. */
function extremeOf(weights: Float32Array, from: number, step: number, count: number): number {
  let largest = 0
  let extreme = 0
  for (let row = 0; row < count; row++) {
    const weight = weights[from + row * step] as number
    largest = Math.max(largest, Math.abs(weight))
    if (Math.abs(weight) === largest) extreme = weight
  }
  return Number.isNaN(largest) ? Number.NaN : extreme
}
