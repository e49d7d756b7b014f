/** The norm of a model: RMS norm or layer norm. */
import { layerNorm, rmsNorm } from '../graph/ops/fused.ts'
import type { Tensor } from '../graph/tensor.ts'
import type { ModelConfig } from './config.ts'
import type { Parameters } from './parameters.ts'

/** Applies the norm whose parameters are called `name`. */
export const normOf =
  (config: ModelConfig, parameters: Parameters) =>
  (x: Tensor, name: string): Tensor =>
    config.norm === 'rms'
      ? rmsNorm(x, parameters.get(name), config.normEpsilon)
      : layerNorm(x, parameters.get(name), parameters.get(`${name}.bias`), config.normEpsilon)
