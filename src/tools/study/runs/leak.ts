/**
 * How much later tokens lower the loss of earlier tokens in a trained run, at the capacity of training and of
 * evaluation.
 */

import { Cleanup } from '../../../core/cleanup.ts'
import { sequencesOfPass } from '../../../core/config/run-config.ts'
import { openRunData } from '../../../node/run/session.ts'
import { separatorOf } from '../../../train/data/first-visible.ts'
import { isLeakMeasured, measureLeak } from '../../../train/measure/leak.ts'
import { loadModel } from '../../../use/runs/trained-model.ts'
import type { FinishedRun } from '../contract.ts'

/** Number of held-out batches that are evaluated twice. The gain is a difference on the same text, so a few suffice. */
export const LEAK_BATCHES = 32

/**
 * The gain from later tokens in nats a token, at the capacity of training and of evaluation, for the newest checkpoint
 * of a run; null if the model sees no later token of its own text. A router or a layer of the user's own that sees later
 * tokens and denies it is found here.
 */
export async function leakOf(directory: string): Promise<FinishedRun['leak']> {
  const cleanup = new Cleanup()
  try {
    const trained = await loadModel(directory, {}, () => {})
    cleanup.defer(() => trained.close())
    const { runtime, config, tokenizer, store } = trained
    const { train, model } = config
    const batch = sequencesOfPass(config)
    if (!isLeakMeasured(model, 'train', batch) && !isLeakMeasured(model, 'eval', batch))
      return { train: null, eval: null }
    const data = await openRunData(config, { tokenizer, onProgress: () => {} })
    cleanup.defer(() => data.close())
    const options = { batch, limit: LEAK_BATCHES, seed: train.seed, separator: separatorOf(config.data, tokenizer) }
    const gain = (rule: 'train' | 'eval') => measureLeak(runtime, model, store, data, { ...options, rule })
    return { train: await gain('train'), eval: await gain('eval') }
  } finally {
    await cleanup.run()
  }
}
