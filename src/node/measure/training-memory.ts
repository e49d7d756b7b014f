/** Computes the memory of a training by compiling its programs, without training. */
import type { RunConfig } from '../../core/config/run-config.ts'
import { separatorOf } from '../../train/data/first-visible.ts'
import { createStore, Trainer } from '../../train/step/trainer.ts'
import { openRuntime } from '../run/session.ts'

export interface TrainingMemory {
  /** Parameters, gradients, optimizer state and scratch memory, padding included. */
  readonly stateBytes: number
  /** Working memory of the gradient program; undefined if the runtime does not plan it (ONNX Runtime alone). */
  readonly programBytes: number | undefined
}

export async function trainingMemory(config: RunConfig): Promise<TrainingMemory> {
  const runtime = await openRuntime(config)
  try {
    const store = createStore(runtime, config)
    // Memory does not depend on which token separates documents.
    const trainer = await Trainer.compile(runtime, config, store, separatorOf(config.data, { endOfText: 0 }))
    const { programBytes } = trainer
    await trainer.release()
    return { stateBytes: store.byteLength, programBytes }
  } finally {
    await runtime.close()
  }
}
