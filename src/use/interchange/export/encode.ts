/** Encodes float32 numbers as the bytes of other types: rounded to nearest, ties to even, or as blocks of ggml. */
import { nearestBfloat16 } from '../../../core/bfloat16.ts'
import { option, RunError, wording } from '../../../core/errors.ts'
import type { BlockDtype, NumberDtype } from './contract.ts'

/** Number of bytes of a value, by type. */
export const bytesOfDtype: Readonly<Record<NumberDtype, number>> = { float32: 4, bf16: 2, f16: 2 }

/** Numbers of a block. */
export const BLOCK = 32

/** Bytes of a block, by type: a scale in f16, then 8 or 4 bits for each number. */
export const bytesOfBlock: Readonly<Record<BlockDtype, number>> = { q8_0: 34, q4_0: 18 }

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
 * Encodes whole blocks of 32 numbers, as `quantize_row_q8_0_ref` and `quantize_row_q4_0_ref` of ggml do, with the scale d
 * in f16.
 *
 * q8_0: d = max |x| / 127 in float32, and the nearest integers to x/d, halves away from zero. A number changes by at most
 * d/2. q4_0: d = m/−8 with the number m of the largest magnitude, so that 4 bits hold m exactly, and x/d + 8 from 0 to 15,
 * halves upwards, the first 16 numbers in the low halves of the bytes. A number changes by at most |d|/2, and by |d| if it
 * is near −m. In both, numbers also change by the rounding of d.
 * @param name Name of the tensor in messages.
 * @throws RunError if a scale is too large for f16
 */
export function encodeBlocks(values: Float32Array, dtype: BlockDtype, name: string): Uint8Array {
  const bytes = new Uint8Array((values.length / BLOCK) * bytesOfBlock[dtype])
  const view = new DataView(bytes.buffer)
  for (let from = 0, at = 0; from < values.length; from += BLOCK, at += bytesOfBlock[dtype]) {
    const block = values.subarray(from, from + BLOCK)
    const largest = largestOf(block)
    float[0] = dtype === 'q8_0' ? Math.abs(largest) / 127 : largest / -8
    const scale = float[0]
    if (!(Math.abs(scale) < MAX_F16))
      throw new RunError(
        wording`cannot store ${name} as ${dtype}: it holds ${largest}, and the scales of ${dtype} end at ${MAX_F16} (use ${option('dtype', 'bf16')} or float32)`,
      )
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale)
    view.setUint16(at, f16(floatBits[0] as number), true)
    const codes = at + 2
    if (dtype === 'q8_0')
      for (let i = 0; i < BLOCK; i++) {
        const x = Math.fround((block[i] as number) * inverse)
        view.setInt8(codes + i, Math.sign(x) * Math.floor(Math.abs(x) + 0.5))
      }
    else
      for (let i = 0; i < BLOCK / 2; i++)
        bytes[codes + i] =
          fourBits(block[i] as number, inverse) | (fourBits(block[i + BLOCK / 2] as number, inverse) << 4)
  }
  return bytes
}

/** The first of the numbers with the largest magnitude; NaN if one of them is. */
function largestOf(block: Float32Array): number {
  let largest = 0
  for (const value of block) if (Number.isNaN(value) || Math.abs(value) > Math.abs(largest)) largest = value
  return largest
}

const fourBits = (value: number, inverse: number): number =>
  Math.min(15, Math.floor(Math.fround(Math.fround(value * inverse) + 8.5)))

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
