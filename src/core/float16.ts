/** IEEE 754 binary16 numbers, of which Node 20 has no typed array. */
let table: Float32Array | undefined

/** The value of each of the 65,536 binary16 numbers, by its bits. */
export function halfTable(): Float32Array {
  table ??= Float32Array.from({ length: 1 << 16 }, (_, half) => {
    const sign = half & 0x8000 ? -1 : 1
    const exponent = (half >> 10) & 31
    const fraction = half & 1023
    if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
    return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
  })
  return table
}

/** Writes the float32 numbers of binary16 numbers until `values` is full. */
export function widenFloat16(halves: Uint16Array, values: Float32Array): void {
  const table = halfTable()
  for (let i = 0; i < values.length; i++) values[i] = table[halves[i] as number] as number
}
