/**
 * A decoder turns the bytes of a type into float32. A file stores the numbers of a row in blocks of equal size: one number
 * is a block of F32, and 256 numbers are a block of Q4_K. Decoders are on the way of every weight that is loaded, so their
 * loops index typed arrays only. Each rounds as ggml does: after every operation, to float32.
 */
export interface Decoder {
  /** Numbers of a block. */
  readonly block: number
  /** Bytes of a block. */
  readonly bytes: number
  /** Decodes whole blocks from the beginning of `bytes` until `values` is full. */
  decode(bytes: ArrayBuffer, values: Float32Array): void
}
