/** Encodes float32 numbers as the bytes of other types, rounded to nearest, ties to even. */
import { nearestBfloat16 } from '../../../core/bfloat16.ts'
import { option, RunError, wording } from '../../../core/errors.ts'
import type { ExportDtype } from './contract.ts'

/** Number of bytes of a value, by type. */
export const bytesOfDtype: Readonly<Record<ExportDtype, number>> = { float32: 4, bf16: 2, f16: 2 }

const MAX_F16 = 65_504

/**
 * Encodes the numbers of a tensor.
 * @param name Name of the tensor in messages.
 * @throws RunError if a finite number is too large for f16
 */
export function encode(values: Float32Array, dtype: ExportDtype, name: string): Uint8Array {
  if (dtype === 'float32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
  const bits = new Uint32Array(values.slice().buffer)
  const halves = new Uint16Array(values.length)
  for (let i = 0; i < bits.length; i++)
    halves[i] = dtype === 'bf16' ? nearestBfloat16(bits[i] as number) : f16(bits[i] as number)
  if (dtype === 'f16') checkFinite(values, halves, name)
  return new Uint8Array(halves.buffer)
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
