/** Initial parameters: a function of the seed and each tensor's name, whatever the layout. */
import { expertName } from '../model/parameters.ts'
import { randomFor } from './random.ts'
import type { ParameterStore } from './store.ts'

/**
 * Ones for norms, zeros for biases, else a normal of deviation √(scale / fan-in) truncated at two
 * deviations (Switch Transformers, section 2.4). Yields to the event loop between tensors.
 */
export async function initialize(store: ParameterStore, seed: number, scale: number): Promise<void> {
  for (const { name, shape, stacked, init } of store.specs) {
    if (init === 'ones' || init === 'zeros') {
      store.parameter(name).fill(init === 'ones' ? 1 : 0)
      continue
    }
    const deviation = Math.sqrt(scale / init.fanIn)
    for (let expert = 0; expert < (stacked ? (shape[0] as number) : 1); expert++) {
      const values = store.parameter(name, stacked ? expert : null)
      randomFor(seed, 'init', stacked ? expertName(name, expert) : name).truncatedNormal(values, deviation)
      await new Promise(setImmediate)
    }
  }
}
