/** A model in the memory of a runtime: loaded from a checkpoint, or in training. */
import type { RunConfig } from '../../core/config/run-config.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import type { ModelStore } from '../../train/step/store/model-store.ts'

export interface LiveModel {
  readonly runtime: Runtime
  readonly config: RunConfig
  readonly tokenizer: Tokenizer
  readonly store: ModelStore
  /** Number of steps that the model has been trained. */
  readonly step: number
}
