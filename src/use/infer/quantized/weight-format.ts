import type { Bits } from '../../../core/graph/quantized-layout.ts'

/** Formats of the weights of a model in use. */
export const weightFormats = ['float32', 'bf16', 'int8', 'int4'] as const
export type WeightFormat = (typeof weightFormats)[number]
export type QuantizedFormat = Exclude<WeightFormat, 'float32'>

/** Bits of a weight. */
export const bitsOf: Readonly<Record<QuantizedFormat, Bits>> = { bf16: 16, int8: 8, int4: 4 }
