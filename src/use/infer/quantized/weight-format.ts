/** Formats of the weights of a model in use. */
export const weightFormats = ['float32', 'int8', 'int4'] as const
export type WeightFormat = (typeof weightFormats)[number]
export type QuantizedFormat = Exclude<WeightFormat, 'float32'>
