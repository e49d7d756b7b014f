/** Encodes float32 numbers as the bytes of other types: rounded to nearest, ties to even, or as blocks of ggml. */
import { nearestBfloat16 } from '../../../core/bfloat16.ts'
import { option, RunError, wording } from '../../../core/errors.ts'
import type { NumberDtype } from './contract.ts'

/** Number of bytes of a value, by type. */
export const bytesOfDtype: Readonly<Record<NumberDtype, number>> = { float32: 4, bf16: 2, f16: 2 }

/** Numbers of a block of q8_0, and its bytes: a scale in f16, then an int8 for each number. */
export const Q8_NUMBERS = 32
export const Q8_BYTES = 34

const MAX_F16 = 65_504

/**
 * Encodes the numbers of a tensor.
 * @param name Name of the tensor in messages.
 * @throws RunError if a finite number is too large for f16
 */
export function encode(values: Float32Array, dtype: NumberDtype, name: string): Uint8Array {
  if (dtype === 'float32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
  const bits = new Uint32Array(values.slice().buffer)
  const halves = new Uint16Array(values.length)
  for (let i = 0; i < bits.length; i++)
    halves[i] = dtype === 'bf16' ? nearestBfloat16(bits[i] as number) : f16(bits[i] as number)
  if (dtype === 'f16') checkFinite(values, halves, name)
  return new Uint8Array(halves.buffer)
}

const float = new Float32Array(1)
const floatBits = new Uint32Array(float.buffer)

/**
 * Encodes whole blocks of 32 numbers as q8_0, as `quantize_row_q8_0_ref` of ggml does: d = max |x| / 127 in float32, the
 * nearest integers to x/d, halves away from zero, and d in f16. A number changes by at most d/2, and by the rounding of d.
 * @param name Name of the tensor in messages.
 * @throws RunError if a scale is too large for f16
 */
export function encodeQ8(values: Float32Array, name: string): Uint8Array {
  const bytes = new Uint8Array((values.length / Q8_NUMBERS) * Q8_BYTES)
  const view = new DataView(bytes.buffer)
  for (let from = 0, at = 0; from < values.length; from += Q8_NUMBERS, at += Q8_BYTES) {
    let largest = 0
    for (let i = from; i < from + Q8_NUMBERS; i++) largest = Math.max(largest, Math.abs(values[i] as number))
    float[0] = largest / 127
    const scale = float[0]
    if (!(scale < MAX_F16))
      throw new RunError(
        wording`cannot store ${name} as q8_0: it holds ${largest}, and the scales of q8_0 end at ${MAX_F16} (use ${option('dtype', 'bf16')} or float32)`,
      )
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale)
    view.setUint16(at, f16(floatBits[0] as number), true)
    for (let i = 0; i < Q8_NUMBERS; i++) {
      const x = Math.fround((values[from + i] as number) * inverse)
      view.setInt8(at + 2 + i, Math.sign(x) * Math.floor(Math.abs(x) + 0.5))
    }
  }
  return bytes
}

/** IEEE half precision, from the bits of a float32. */
function f16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00
  // 65520 and above round to infinity.
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  if (magnitude >= 0x38800000) return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
  // Below 2^-14 a number is a multiple of 2^-24.
  const shift = 126 - (magnitude >>> 23)
  if (shift > 24) return sign
  const mantissa = (magnitude & 0x7fffff) | 0x800000
  const quotient = mantissa >>> shift
  const rest = mantissa & (2 ** shift - 1)
  const half = 2 ** (shift - 1)
  return sign | (quotient + (rest > half || (rest === half && (quotient & 1) === 1) ? 1 : 0))
}

function checkFinite(values: Float32Array, halves: Uint16Array, name: string): void {
  const at = halves.findIndex((half, i) => (half & 0x7fff) === 0x7c00 && Number.isFinite(values[i]))
  if (at >= 0)
    throw new RunError(
      wording`cannot store ${name} as f16: it holds ${values[at] ?? ''}, and f16 ends at ${MAX_F16} (use ${option('dtype', 'bf16')} or float32)`,
    )
}
