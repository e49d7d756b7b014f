/** A small model with random weights that is served without files. */
import type { Runtime } from '../../../engine/contract/runtime.ts'
import type { Tokenizer } from '../../../train/data/tokenizer/tokenizer.ts'
import { Contexts } from '../../../use/infer/generation/contexts.ts'
import { ExpertTraffic } from '../../../use/infer/generation/expert-traffic.ts'
import { bytes, scoredModel, VOCABULARY } from '../../../use/infer/scoring/testing/scored-model.ts'
import { Scheduler } from '../../../use/infer/streams/scheduler.ts'
import type { ServedModel } from '../served-model.ts'

/** A tokenizer whose end token the model does not write. */
const endless: Tokenizer = { ...bytes, rules: { ...bytes.rules, end: [VOCABULARY] } }

export const smallModel = async (runtime: Runtime, tokenizer = endless) => ({
  ...(await scoredModel(runtime, { tokenizer, sequence: 40 })),
  step: 20,
})

/** Serves a model with two places. @param queue Number of texts that may wait. */
export function serveSmall(model: Awaited<ReturnType<typeof smallModel>>, id: string, queue: number): ServedModel {
  const traffic = new ExpertTraffic()
  const contexts = new Contexts(model.runtime, model.config.model, model.store, { count: 2, detailed: true, traffic })
  const scheduler = new Scheduler(contexts, model.tokenizer, { queue })
  const loaded = { directory: `runs/${id}`, weights: 'float32' as const, trainedOn: 'text', close: async () => {} }
  return {
    ...{ id, since: 1_700_000_000, model: { ...model, ...loaded }, scheduler },
    choicesPerToken: contexts.choicesPerToken,
    traffic,
    async close(error) {
      await scheduler.close(error)
      contexts.release()
    },
  }
}
