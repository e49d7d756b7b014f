/** How much later tokens help earlier ones in a trained run, under the capacity of training and of evaluation. */
import type { FinishedRun } from './contract.ts'

/** Nats a token by rule; null where the model is causal, or was not measured. */
export async function leakOf(_directory: string): Promise<FinishedRun['leak']> {
  // The place of `measureLeak` (src/train/leak.ts), once for each of the two rules.
  return { train: null, eval: null }
}
