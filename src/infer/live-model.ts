/** A model in the memory of a runtime: loaded from a checkpoint, or in training. */
import type { RunConfig } from '../config/run-config.ts'
import type { Tokenizer } from '../data/tokenizer/tokenizer.ts'
import type { Runtime } from '../runtime/contract.ts'
import type { ParameterStore } from '../step/store.ts'

export interface LiveModel {
  readonly runtime: Runtime
  readonly config: RunConfig
  readonly tokenizer: Tokenizer
  readonly store: ParameterStore
  /** Steps that it has been trained. */
  readonly step: number
}
