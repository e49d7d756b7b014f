/** A model in the memory of a runtime: loaded from a checkpoint, or in training. */
import type { RunConfig } from '../../core/config/run-config.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import type { ParameterStore } from '../../train/step/store.ts'
import type { Int8Weights } from './int8/int8-weights.ts'

export interface LiveModel {
  readonly runtime: Runtime
  readonly config: RunConfig
  readonly tokenizer: Tokenizer
  readonly store: ParameterStore
  /** The weights as int8, if the parameters in the store have been rounded to them. */
  readonly int8?: Int8Weights
  /** Number of steps that the model has been trained. */
  readonly step: number
}
