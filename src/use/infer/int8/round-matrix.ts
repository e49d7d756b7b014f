/** Rounds a matrix of weights to int8, by groups. */
import { BLOCK, blocksOf, GROUP, GROUP_BYTES, groupsOf } from '../../../core/graph/int8-layout.ts'

/** A matrix w [inner, columns]; transposed, its memory is [columns, inner]. */
export interface MatrixShape {
  readonly inner: number
  readonly columns: number
  readonly transposed: boolean
}

const float = new Float32Array(1)
const bits = new Uint32Array(float.buffer)

/** The least bfloat16 that is not below `value`, which is at least 0. NaN and infinity are returned unchanged. */
function roundedUp(value: number): number {
  float[0] = value
  const all = bits[0] as number
  if (all & 0xffff && Number.isFinite(value)) bits[0] = (all & 0xffff0000) + 0x10000
  return float[0]
}

/**
 * Rounds each weight to scale·q, in place, and writes scales and q to `packed` in the layout of
 * src/core/graph/int8-layout.ts. The scale of a group is max |w| / 127, rounded up to a bfloat16, so a weight changes
 * by at most half of the scale: |w − scale·q| ≤ max |w| / 254 · (1 + 2⁻⁷).
 * @param packed Bytes of the matrix, which begin at a multiple of 4.
 */
export function roundMatrix(
  weights: Float32Array,
  { inner, columns, transposed }: MatrixShape,
  packed: Uint8Array,
): void {
  const [rowStep, columnStep] = transposed ? [1, inner] : [columns, 1]
  const quantized = new Int8Array(packed.buffer, packed.byteOffset, packed.byteLength)
  const scales = new Uint16Array(packed.buffer, packed.byteOffset, packed.byteLength / 2)
  packed.fill(0)
  let at = 0
  for (let block = 0; block < blocksOf(columns); block++)
    for (let group = 0; group < groupsOf(inner); group++, at += GROUP_BYTES) {
      const rows = Math.min(GROUP, inner - group * GROUP)
      const width = Math.min(BLOCK, columns - block * BLOCK)
      const first = group * GROUP * rowStep + block * BLOCK * columnStep
      for (let column = 0; column < width; column++) {
        const from = first + column * columnStep
        let largest = 0
        for (let row = 0; row < rows; row++)
          largest = Math.max(largest, Math.abs(weights[from + row * rowStep] as number))
        const scale = roundedUp(largest / 127)
        // `roundedUp` leaves the scale in `bits`, whose upper half is the bfloat16.
        scales[(at + GROUP * BLOCK) / 2 + column] = (bits[0] as number) >>> 16
        for (let row = 0; row < rows; row++) {
          const i = from + row * rowStep
          const q = scale === 0 ? 0 : Math.round((weights[i] as number) / scale)
          quantized[at + (row >> 1) * 2 * BLOCK + 2 * column + (row & 1)] = q
          weights[i] = q * scale
        }
      }
    }
}
