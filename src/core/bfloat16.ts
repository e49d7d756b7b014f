/**
 * The bfloat16 nearest to a float32, ties to even: the upper half of its bits. A NaN keeps its upper bits with one bit
 * set, so it stays NaN.
 * @param bits The bits of the float32.
 */
export const nearestBfloat16 = (bits: number): number =>
  (bits & 0x7fffffff) > 0x7f800000 ? (bits >>> 16) | 0x40 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
