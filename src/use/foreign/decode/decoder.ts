/** The types of numbers in files that are decoded to float32, by their names. */
import { Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 } from './blocks.ts'
import type { Decoder } from './contract.ts'
import { BF16, F16, F32 } from './floats.ts'
import { Q2_K, Q3_K, Q4_K, Q5_K, Q6_K } from './k-blocks.ts'
import { IQ4_NL, IQ4_XS } from './nonlinear.ts'

/** In the order of their names in messages. */
const decoders: Readonly<Record<string, Decoder>> = {
  F32,
  F16,
  BF16,
  Q8_0,
  Q6_K,
  Q5_K,
  Q5_1,
  Q5_0,
  Q4_K,
  Q4_1,
  Q4_0,
  Q3_K,
  Q2_K,
  IQ4_NL,
  IQ4_XS,
}

/** Names of the types that are decoded. */
export const decodedTypes: readonly string[] = Object.keys(decoders)

/** The decoder of a type; undefined for a type that is not decoded. */
export const findDecoder = (dtype: string): Decoder | undefined =>
  Object.hasOwn(decoders, dtype) ? decoders[dtype] : undefined

/** The decoder of a type that was found readable. @throws Error for another type */
export function decoderOf(dtype: string): Decoder {
  const decoder = findDecoder(dtype)
  if (!decoder) throw new Error(`internal: no decoder of ${dtype}`)
  return decoder
}
