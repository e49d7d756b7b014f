/**
 * The bfloat16 nearest to a float32, ties to even: the upper half of its bits. A NaN keeps its upper bits with one bit
 * set, so it stays NaN.
 * @param bits The bits of the float32.
 */
export const nearestBfloat16 = (bits: number): number =>
  (bits & 0x7fffffff) > 0x7f800000 ? (bits >>> 16) | 0x40 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16

/** Writes the float32 numbers of bfloat16 numbers, whose bits are the upper halves, until `values` is full. */
export function widenBfloat16(halves: Uint16Array, values: Float32Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  for (let i = 0; i < bits.length; i++) bits[i] = (halves[i] as number) << 16
}
