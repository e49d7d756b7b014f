/** The parts that a training computes with, from its runtime to its compiled program. */
import type { RunConfig } from '../../core/config/run-config.ts'
import { sha256 } from '../../core/sha256.ts'
import type { Ranks } from '../../engine/contract/ranks.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { TrainingReplay } from '../data/batches.ts'
import type { Dataset } from '../data/dataset.ts'
import { separatorOf } from '../data/first-visible.ts'
import { RunState } from '../run/run-state.ts'
import type { ParameterStore } from '../step/store/store.ts'
import { Trainer } from '../step/trainer.ts'

/** The parts of a training that exist before anything is compiled. */
export interface TrainingSetting {
  readonly runtime: Runtime
  readonly config: RunConfig
  readonly data: Dataset
  /** Memory of parameters, gradients and optimizer state. */
  readonly store: ParameterStore
  /** The ranks that take part; null for a process alone. */
  readonly ranks: Ranks | null
  /** Routes that are replayed; default: routers choose. */
  readonly replay?: TrainingReplay | null
}

export interface TrainingProgram extends TrainingSetting {
  readonly trainer: Trainer
  /** The state that checkpoints keep; restore it, or initialize the parameters, before the first step. */
  readonly state: RunState
}

/**
 * Compiles the steps of a training. The caller releases `trainer` in the end.
 * @throws RuntimeError if the engine refuses the model, for example for lack of memory
 */
export async function compileTraining(setting: TrainingSetting): Promise<TrainingProgram> {
  const { runtime, config, data, store, ranks, replay = null } = setting
  const tokenizer = await sha256(data.tokenizer.json)
  const separator = separatorOf(config.data, data.tokenizer)
  const trainer = await Trainer.compile(runtime, config, store, separator, ranks, replay !== null)
  const text = { hash: data.hash, tokenizer, routes: replay?.hash }
  return { ...setting, trainer, state: new RunState(config, text, store, trainer) }
}
