/**
 * What an expert is worth: how much higher the loss is without it. An expert is left out by a matrix of zeros in the place
 * of its last one, so that it adds nothing for the tokens that choose it; the router, its gates and all other weights
 * stay. Every expert is left out on the same batches, and the interval of the difference is one over these batches, whose
 * windows are shuffled.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { RunError } from '../../core/errors.ts'
import { quantizedName } from '../../core/model/quantized-matrices.ts'
import { type ArenaRange, readRange } from '../../engine/contract/arena.ts'
import { ABLATION_FILE } from '../../node/routes/files.ts'
import { heldOutBatches } from '../../train/data/batches.ts'
import type { Dataset } from '../../train/data/dataset.ts'
import type { ModelStore } from '../../train/step/store/model-store.ts'
import type { CompiledTracer } from '../../use/infer/compiled-tracer.ts'
import { QuantizedStore } from '../../use/infer/quantized/quantized-store.ts'
import { estimateMean } from '../study/statistics.ts'

const ablationSchema = z.object({
  kind: z.literal('ablation'),
  format: z.literal(1),
  /** Number of tokens, and of batches of them, on which every expert was left out. */
  tokens: z.number(),
  batches: z.number(),
  /** Loss on them with all experts, nats a token. */
  loss: z.number(),
  routers: z.array(
    z.object({
      layer: z.number(),
      /** By expert: nats a token that the loss rises without it, and the 95 % interval; null for a single batch. */
      experts: z.array(z.object({ rise: z.number(), interval: z.tuple([z.number(), z.number()]).nullable() })),
    }),
  ),
})
export type Ablation = z.infer<typeof ablationSchema>
export type ExpertAblation = Ablation['routers'][number]['experts'][number]

export interface AblationOptions {
  /** Number of tokens, in whole batches of which there is at least one. */
  readonly tokens: number
  readonly signal?: AbortSignal | undefined
  /** Called with the number of passes that are done, and their largest number. */
  readonly onPass?: (done: number, most: number) => void
}

/** Measures every expert of the feed-forward networks of a model. */
export async function measureAblation(
  { tracer, batch, config }: CompiledTracer,
  store: ModelStore,
  data: Dataset,
  { tokens, signal, onPass }: AblationOptions,
): Promise<Ablation> {
  const { sequence } = config.model
  const wanted = Math.max(1, Math.ceil(tokens / (batch * sequence)))
  const losses: number[] = []
  /** Differences by layer, expert and batch. */
  const rises = new Map<number, number[][]>()
  let [counted, done, most] = [0, 0, 0]
  for (const next of heldOutBatches(data.heldOut, { batch, sequence }, tracer.batch)) {
    const index = losses.length
    const { loss, routers } = await tracer.run('eval', index)
    losses.push(loss)
    counted += next.counted
    const chosen = routers
      .filter(({ module }) => module === 'ffn')
      .map(({ layer, experts, expert_TK }) => ({ layer, experts, ids: new Set(expert_TK) }))
    most = wanted * (1 + chosen.reduce((sum, { experts }) => sum + experts, 0))
    onPass?.(++done, most)
    for (const { layer, experts, ids } of chosen) {
      const ofLayer = rises.get(layer) ?? Array.from({ length: experts }, () => [])
      rises.set(layer, ofLayer)
      for (const [expert, ofExpert] of ofLayer.entries()) {
        signal?.throwIfAborted()
        const without = async () => (await tracer.run('eval', index)).loss - loss
        // Without a token the expert adds nothing anyway.
        ofExpert.push(ids.has(expert) ? await leftOut(lastMatrix(store, layer, expert, experts), without) : 0)
        onPass?.(++done, most)
      }
    }
    if (losses.length === wanted) break
  }
  const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  return {
    ...{ kind: 'ablation', format: 1, tokens: counted, batches: losses.length, loss: meanOf(losses) },
    routers: [...rises].map(([layer, experts]) => ({
      layer,
      experts: experts.map((values) => {
        const interval = estimateMean(values)?.interval
        return { rise: meanOf(values), interval: interval ? [interval[0], interval[1]] : null }
      }),
    })),
  }
}

/** Where the weights of the last matrix of an expert are. */
function lastMatrix(store: ModelStore, layer: number, expert: number, experts: number): ArenaRange {
  const name = `layers.${layer}.moe.experts.{e}.down`
  const all = store instanceof QuantizedStore ? store.range(quantizedName(name)) : undefined
  if (!all) return store.parameter(name, expert)
  const count = all.count / experts
  return { ...all, start: all.start + expert * count, count }
}

/** Does work while numbers are zero. */
async function leftOut<T>(range: ArenaRange, work: () => Promise<T>): Promise<T> {
  const { arena, start, count } = range
  const kept = (await readRange(range)).slice()
  await arena.write(start, new Float32Array(count))
  try {
    return await work()
  } finally {
    await arena.write(start, kept)
  }
}

/**
 * The measurement beside a record; null if there is none.
 * @throws RunError if its file is damaged
 */
export async function readAblation(folder: string): Promise<Ablation | null> {
  const path = join(folder, ABLATION_FILE)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new RunError(`cannot read ${path}: ${(error as Error).message}`)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new RunError(`cannot read ${path}: it is no JSON (record the routes again)`)
  }
  const parsed = ablationSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new RunError(`cannot read ${path}: ${issue?.path.join('.')}: ${issue?.message} (record the routes again)`)
}
