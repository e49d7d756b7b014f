/** Formats of the weights of a model in use. */
export const weightFormats = ['float32', 'int8'] as const
export type WeightFormat = (typeof weightFormats)[number]
