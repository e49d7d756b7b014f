/**
 * Measures how much a model's loss benefits from later tokens, which do not exist yet in generation.
 *
 * Think of reading the first halves of texts twice: followed by their true continuation, and by other text. For a
 * causal model both losses are equal. If routing depends on later tokens, the loss is lower with the true continuation;
 * by this difference the loss is better than generation can achieve.
 */

import { UsageError } from '../../core/errors.ts'
import { withKernels } from '../../core/graph/tensor.ts'
import { causalityOf } from '../../core/model/causality.ts'
import type { ModelConfig } from '../../core/model/config.ts'
import type { CapacityRule } from '../../core/model/routing/contract.ts'
import { randomFor } from '../../core/random.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { tooShortMessage, windowsOf } from '../data/batches.ts'
import type { Dataset } from '../data/dataset.ts'
import { CompiledPass, tracePass } from '../step/passes/pass.ts'
import type { ModelStore } from '../step/store/model-store.ts'

export interface LeakOptions {
  /** Number of sequences per pass, which must equal the training micro-batch, since capacity depends on it. */
  readonly batch: number
  readonly rule: CapacityRule
  /** Maximum number of batches; 0 = all held-out windows once. */
  readonly limit: number
  /** Seed of the choice of other text and of a random router. */
  readonly seed: number
  /** Token id at which attention restarts, if it does not cross documents. */
  readonly separator?: number | undefined
}

const causalityIn = (model: ModelConfig, rule: CapacityRule, batch: number) =>
  causalityOf(model, { activity: 'evaluation', rule, batch, sequence: model.sequence }).kind

/**
 * Whether the gain is measured: if a token's loss in evaluation depends on later tokens of its own text, or if only the
 * word of a router or a layer of the user's own (`sees`) says that it does not.
 */
export const isLeakMeasured = (model: ModelConfig, rule: CapacityRule, batch: number): boolean =>
  causalityIn(model, rule, batch) === 'future' || hasOwnPart(model)

/** Whether a router or a layer is the user's own. Records of older versions have no `layer`. */
export const hasOwnPart = ({ moe, layer }: Pick<ModelConfig, 'moe'> & Partial<Pick<ModelConfig, 'layer'>>): boolean =>
  moe?.router === 'own' || Boolean(layer)

/**
 * The gain from the true continuation, nats per token: the mean loss at positions before S/2 if the rest of every
 * sequence is text of another held-out window, minus the mean loss with its own text. The gain is positive if the loss
 * uses later tokens. It is null if the model does not depend on later tokens of its own text under `rule`, as its
 * settings say and, with parts of the user's own, as a gain of exactly 0 without capacity confirms; or if there are
 * fewer than two windows of text.
 */
export async function measureLeak(
  runtime: Runtime,
  config: ModelConfig,
  store: ModelStore,
  data: Pick<Dataset, 'heldOut'>,
  options: LeakOptions,
): Promise<number | null> {
  const { rule, batch } = options
  if (!isLeakMeasured(config, rule, batch) || windowsOf(data.heldOut, config.sequence) < 2) return null
  if (causalityIn(config, rule, batch) === 'future') return measureLossGain(runtime, config, store, data, options)
  return measureDeniedLeak(runtime, config, store, data, options)
}

/**
 * The gain of a model whose own router or layer sees later tokens although its `sees` denies it, as {@link measureLeak}
 * measures it; null if it keeps its word, if no part denies it, or if there are fewer than two windows of text.
 */
export async function measureDeniedLeak(
  runtime: Runtime,
  config: ModelConfig,
  store: ModelStore,
  data: Pick<Dataset, 'heldOut'>,
  options: Omit<LeakOptions, 'rule'>,
): Promise<number | null> {
  if (!hasOwnPart(config) || causalityIn(config, 'none', options.batch) === 'future') return null
  if (windowsOf(data.heldOut, config.sequence) < 2) return null
  // Without capacity no token depends on another sequence, so a part that keeps its word gains exactly 0.
  const gain = await measureLossGain(runtime, config, store, data, { ...options, rule: 'none' })
  return gain === 0 ? null : gain
}

/**
 * Measures the gain as {@link measureLeak} does, but for causal models too.
 * @throws UsageError if there are fewer than two windows of text
 */
export async function measureLossGain(
  runtime: Runtime,
  config: ModelConfig,
  store: ModelStore,
  { heldOut }: Pick<Dataset, 'heldOut'>,
  { batch, rule, limit, seed, separator }: LeakOptions,
): Promise<number> {
  const { sequence } = config
  const windows = windowsOf(heldOut, sequence)
  if (windows < 2) throw new UsageError(tooShortMessage('held-out', heldOut.length, 2 * sequence))
  const traced = withKernels(runtime.kernels, () =>
    tracePass(config, store, { batch, sequence, training: false, capacity: rule }, separator),
  )
  const pass = await CompiledPass.compile(runtime, config, traced)
  const half = Math.ceil(sequence / 2)
  const span = new Int32Array(sequence + 1)
  const read = (window: number) => {
    heldOut.read((window % windows) * sequence, span)
    return span
  }
  let [gain, batches] = [0, 0]
  try {
    for (let from = 0; from < windows && (limit === 0 || batches < limit); from += batch) {
      pass.targets.fill(-1)
      for (let row = 0; row < batch; row++) {
        const text = read(from + row)
        pass.tokens.set(text.subarray(0, sequence), row * sequence)
        // Rows that fill up the last batch repeat windows that were already counted.
        if (from + row < windows) pass.targets.set(text.subarray(1, half + 1), row * sequence)
      }
      pass.drawChoices(seed, 'leak', batches)
      await pass.run()
      const own = pass.loss
      const shift = 1 + Math.floor(randomFor(seed, 'leak', 'text', batches).uniform() * (windows - 1))
      for (let row = 0; row < batch; row++)
        pass.tokens.set(read(from + row + shift).subarray(half, sequence), row * sequence + half)
      await pass.run()
      // Weight each batch by the windows counted in it.
      gain += (pass.loss - own) * Math.min(batch, windows - from)
      batches++
    }
  } finally {
    pass.release()
  }
  return gain / (limit === 0 ? windows : Math.min(windows, limit * batch))
}
