/** Runs a training to its last step, with the evaluations and checkpoints of its configuration. */
import type { RunConfig } from '../../core/config/run-config.ts'

/** A training step by step. */
export interface Steps {
  /** Number of steps done. */
  readonly done: () => number
  /** Whether the training has to stop; called before each step and after the last. */
  readonly isStopped: () => Promise<boolean>
  readonly step: () => Promise<void>
  readonly evaluate: () => Promise<void>
  readonly checkpoint: () => Promise<void>
}

/**
 * Resolves after the last step, or when the training is stopped; either way the last step is in a checkpoint.
 * @param saveAt Step at which a checkpoint is saved besides the steps of `train.checkpointEvery`, if any.
 */
export async function runToEnd({ train }: RunConfig, steps: Steps, saveAt: number | null = null): Promise<void> {
  let saved = steps.done()
  const save = async () => {
    await steps.checkpoint()
    saved = steps.done()
  }
  while (!(await steps.isStopped()) && steps.done() < train.steps) {
    await steps.step()
    const step = steps.done()
    const isLast = step >= train.steps
    if (isLast || step % train.evalEvery === 0) await steps.evaluate()
    if (isLast || step % train.checkpointEvery === 0 || step === saveAt) await save()
  }
  if (steps.done() > saved) await save()
}
