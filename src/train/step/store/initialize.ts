/** Initial parameters: a function of the seed and each tensor's name, independent of the memory layout. */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { embeddingScaleOf } from '../../../core/model/config.ts'
import type { MatrixRole } from '../../../core/model/parameters.ts'
import { Turns } from '../../../core/next-turn.ts'
import { randomFor } from '../../../core/random.ts'
import { changeRange } from '../../../engine/contract/arena.ts'
import type { ParameterStore } from './store.ts'

/** Count of numbers that are drawn at a time. */
const PIECE = 1 << 18

/** Initial standard deviation by role: final for tables; divided by √fan-in for all other matrices. */
export type InitialScales = Readonly<Record<MatrixRole, number>>

export function initialScales({ model, train }: Pick<RunConfig, 'model' | 'train'>): InitialScales {
  const { scale, embedding, residual, router, head } = train.init
  const table = embedding / embeddingScaleOf(model)
  const all = Math.sqrt(scale)
  return {
    embedding: table,
    positions: table / 2,
    matrix: all,
    branch: all * (residual === 'depth' ? 1 / Math.sqrt(2 * model.layers) : residual),
    router: all * router,
    head: all * head,
  }
}

/**
 * Writes ones to norms, zeros to biases, and to all other parameters numbers of a normal truncated at two deviations
 * (Switch Transformers, section 2.4), which has 0.88 times the given deviation. Yields to the event loop after each 10
 * ms.
 */
export async function initialize(
  store: ParameterStore,
  seed: number,
  scales: InitialScales,
  signal?: AbortSignal,
): Promise<void> {
  const turns = new Turns(signal)
  for (const spec of store.specs) {
    const { name, shape, stacked, init } = spec
    if (init === 'ones' || init === 'zeros') {
      await changeRange(store.parameter(name), (values) => values.fill(init === 'ones' ? 1 : 0))
      continue
    }
    const isTable = init.role === 'embedding' || init.role === 'positions'
    const deviation = scales[init.role] / (isTable ? 1 : Math.sqrt(init.fanIn))
    for (let expert = 0; expert < (stacked ? (shape[0] as number) : 1); expert++) {
      const random = randomFor(seed, 'init', stacked ? store.nameOfExpert(spec, expert) : name)
      const { arena, start, count } = store.parameter(name, stacked ? expert : null)
      for (let from = 0; from < count; from += PIECE) {
        const piece = { arena, start: start + from, count: Math.min(PIECE, count - from) }
        await changeRange(piece, (values) => {
          random.truncatedNormal(values, deviation)
        })
        if (turns.isDue) await turns.take()
      }
    }
  }
}
