/**
 * Decodes numbers of files to float32: F32, BF16 (the upper half of a float32), F16 (IEEE 754 binary16), and the blocks
 * Q8_0 and Q4_0 of GGUF files, of 32 numbers with a scale d in F16 before them (ggml, `block_q8_0` and `block_q4_0` in
 * ggml-common.h): d·q for int8 q; d·(q − 8) for 4 bits, where the low halves of 16 bytes are the numbers 0 to 15, and the
 * high halves the numbers 16 to 31.
 */

type Decode = (bytes: ArrayBuffer, values: Float32Array) => void

interface Decoder {
  /** Numbers of a block. */
  readonly block: number
  /** Bytes of a block. */
  readonly bytes: number
  readonly decode: Decode
}

const BLOCK = 32

const decoders: Readonly<Record<string, Decoder>> = {
  F32: { block: 1, bytes: 4, decode: (bytes, values) => values.set(new Float32Array(bytes, 0, values.length)) },
  BF16: {
    block: 1,
    bytes: 2,
    decode(bytes, values) {
      const halves = new Uint16Array(bytes, 0, values.length)
      const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
      for (let i = 0; i < halves.length; i++) bits[i] = (halves[i] as number) << 16
    },
  },
  F16: {
    block: 1,
    bytes: 2,
    decode(bytes, values) {
      const halves = new Uint16Array(bytes, 0, values.length)
      const table = halfTable()
      for (let i = 0; i < halves.length; i++) values[i] = table[halves[i] as number] as number
    },
  },
  Q8_0: {
    block: BLOCK,
    bytes: 34,
    decode(bytes, values) {
      const view = new DataView(bytes)
      const table = halfTable()
      for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 34) {
        const scale = table[view.getUint16(at, true)] as number
        for (let j = 0; j < BLOCK; j++) values[i + j] = scale * view.getInt8(at + 2 + j)
      }
    },
  },
  Q4_0: {
    block: BLOCK,
    bytes: 18,
    decode(bytes, values) {
      const view = new DataView(bytes)
      const table = halfTable()
      for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 18) {
        const scale = table[view.getUint16(at, true)] as number
        for (let j = 0; j < BLOCK / 2; j++) {
          const pair = view.getUint8(at + 2 + j)
          values[i + j] = scale * ((pair & 15) - 8)
          values[i + j + BLOCK / 2] = scale * ((pair >> 4) - 8)
        }
      }
    },
  },
}

/** The decoder of a type. @throws Error for a type that is not readable */
export function decoderOf(dtype: string): Decoder {
  const decoder = decoders[dtype]
  if (!decoder) throw new Error(`internal: no decoder of ${dtype}`)
  return decoder
}

let halves: Float32Array | undefined

/** The value of each of the 65,536 binary16 numbers. */
function halfTable(): Float32Array {
  halves ??= Float32Array.from({ length: 1 << 16 }, (_, half) => {
    const sign = half & 0x8000 ? -1 : 1
    const exponent = (half >> 10) & 31
    const fraction = half & 1023
    if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
    return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
  })
  return halves
}
