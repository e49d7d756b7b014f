/**
 * The schedule of a pipeline: which pass of which micro-batch a stage computes when. It is 1F1B (one forward, one
 * backward; Narayanan et al. 2021, "Efficient large-scale language model training on GPU clusters using Megatron-LM",
 * section 2.2): a stage first computes as many forward passes as it takes until its first gradient arrives, then a
 * backward pass after each forward pass, then the remaining backward passes. With several chunks of layers for each
 * stage (virtual stages) it is the interleaved schedule.
 */

/** Seconds of the passes of a micro-batch through all layers of a stage. */
export interface StagePasses {
  readonly forward: number
  readonly backward: number
}

export interface ScheduledPass {
  readonly stage: number
  readonly kind: 'forward' | 'backward'
  readonly microBatch: number
  /** Index of the chunk of layers within the stage. */
  readonly chunk: number
  readonly begin: number
  readonly end: number
}

/**
 * The passes of a step, in an order in which each comes after those that it needs.
 * @param stages Stages in the order of the layers.
 * @param chunks Chunks of layers for each stage; with more than one, `microBatches` is a multiple of the stages.
 */
export function schedulePasses(stages: readonly StagePasses[], microBatches: number, chunks = 1): ScheduledPass[] {
  const queues = stages.map((_, stage) => orderOf(stage, stages.length, microBatches, chunks))
  const free = stages.map(() => 0)
  const ends = new Map<string, number>()
  const scheduled: ScheduledPass[] = []
  const total = stages.length * microBatches * chunks * 2
  while (scheduled.length < total) {
    const before = scheduled.length
    for (const [stage, queue] of queues.entries())
      for (let next = queue[0]; next; next = queue[0]) {
        const needed = neededBy(next, stage, stages.length, chunks)
        const ready = needed === null ? 0 : ends.get(needed)
        if (ready === undefined) break
        queue.shift()
        const begin = Math.max(free[stage] as number, ready)
        const end = begin + (stages[stage] as StagePasses)[next.kind] / chunks
        free[stage] = end
        ends.set(keyOf(next.kind, stage, next.chunk, next.microBatch), end)
        scheduled.push({ stage, ...next, begin, end })
      }
    if (scheduled.length === before) throw new Error('internal: a pipeline whose stages wait for each other')
  }
  return scheduled
}

type Pass = Pick<ScheduledPass, 'kind' | 'microBatch' | 'chunk'>

const keyOf = (kind: Pass['kind'], stage: number, chunk: number, microBatch: number): string =>
  `${kind} ${stage} ${chunk} ${microBatch}`

/** The pass whose result a pass needs; null for the first forward pass of a micro-batch. */
function neededBy({ kind, chunk, microBatch }: Pass, stage: number, stages: number, chunks: number): string | null {
  if (kind === 'forward') {
    if (stage > 0) return keyOf(kind, stage - 1, chunk, microBatch)
    return chunk === 0 ? null : keyOf(kind, stages - 1, chunk - 1, microBatch)
  }
  if (stage < stages - 1) return keyOf(kind, stage + 1, chunk, microBatch)
  return chunk < chunks - 1
    ? keyOf(kind, 0, chunk + 1, microBatch)
    : keyOf('forward', stages - 1, chunks - 1, microBatch)
}

/** The passes of a stage in their order. */
function orderOf(stage: number, stages: number, microBatches: number, chunks: number): Pass[] {
  const total = microBatches * chunks
  const before = stages - stage - 1
  const warmup = Math.min(total, chunks > 1 ? 2 * before + (chunks - 1) * stages : before)
  // Interleaved stages compute a chunk for as many micro-batches as there are stages, then the next chunk.
  const pass = (kind: Pass['kind'], index: number): Pass => {
    if (chunks === 1) return { kind, microBatch: index, chunk: 0 }
    const place = Math.floor((index % (stages * chunks)) / stages)
    const microBatch = Math.floor(index / (stages * chunks)) * stages + (index % stages)
    return { kind, microBatch, chunk: kind === 'forward' ? place : chunks - 1 - place }
  }
  const order: Pass[] = []
  for (let i = 0; i < warmup; i++) order.push(pass('forward', i))
  for (let i = warmup; i < total; i++) order.push(pass('forward', i), pass('backward', i - warmup))
  for (let i = total - warmup; i < total; i++) order.push(pass('backward', i))
  return order
}
