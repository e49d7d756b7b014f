/** How much later tokens help earlier ones in a trained run, under the capacity of training and of evaluation. */
import { causalityOf } from '../model/routing/causality.ts'
import { loadModel } from '../train/finished.ts'
import { measureLeak } from '../train/leak.ts'
import { openRunData, openRuntime } from '../train/session.ts'
import type { FinishedRun } from './contract.ts'

/** Batches of held-out text that are read twice: the gain is a difference on the same text, so a few tell it well. */
const BATCHES = 32

/** Nats a token by rule, of the run's newest checkpoint; null where its evaluation is causal. */
export async function leakOf(directory: string): Promise<FinishedRun['leak']> {
  const { config, tokenizer, store } = await loadModel(directory, {}, () => {})
  const { train, model } = config
  const batch = train.batch / train.microBatches
  const rules = ['train', 'eval'] as const
  const isCausal = (rule: 'train' | 'eval') =>
    model.moe === null ||
    causalityOf(model.moe, { activity: 'evaluation', rule, batch, sequence: model.sequence }).kind === 'causal'
  if (rules.every(isCausal)) return { train: null, eval: null }
  const data = await openRunData(config, { tokenizer, say: () => {} })
  try {
    const runtime = await openRuntime(config)
    try {
      const gain = (rule: 'train' | 'eval') =>
        measureLeak(runtime, model, store, data, { batch, rule, limit: BATCHES, seed: train.seed })
      return { train: await gain('train'), eval: await gain('eval') }
    } finally {
      await runtime.close()
    }
  } finally {
    await data.close()
  }
}
