import { afterAll, beforeAll, expect, test } from 'vitest'
import { runSchema } from '../../core/config/run-config.ts'
import { RunError } from '../../core/errors.ts'
import { floatsOf } from '../../engine/contract/arena.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { createRuntime } from '../../engine/cpu/cpu-runtime.ts'
import { memoryDataset } from '../data/memory-dataset.ts'
import { Ceiling } from '../measure/mfu.ts'
import type { TrainRecord } from '../step/metrics/records.ts'
import { initialize, initialScales } from '../step/store/initialize.ts'
import { createStore } from '../step/trainer.ts'
import type { TrainEvent } from './events.ts'
import { compileTraining } from './program.ts'
import { type Kept, type SkippedStep, TrainingLoop } from './training-loop.ts'

const config = runSchema.parse({
  model: { vocabulary: 300, layers: 1, width: 16, heads: 2, sequence: 16, hidden: 32, moe: null },
  data: { heldOut: 0.2 },
  train: {
    steps: 20,
    batch: 2,
    keep: 3,
    maxNonFinite: 3,
    evalBatches: 1,
    schedule: { kind: 'wsd', decay: 0.2, warmup: 0 },
  },
  runtime: { threads: 1 },
})
const bytes = new TextEncoder().encode(
  Array.from({ length: 300 }, (_, i) => `word${(i * 7) % 31} ${i % 9 === 0 ? '\n\n' : ''}`).join(''),
)

let runtime: Runtime
beforeAll(async () => {
  runtime = await createRuntime({ threads: 1 })
})
afterAll(() => runtime.close())

/** A training at step 0, and everything that it passes to the place in which it runs. */
async function start({ keepsBatches = true } = {}) {
  const { vocabulary, sequence } = config.model
  const file = { name: 'notes.txt', format: 'text', gzip: false, origin: 'named', bytes } as const
  const data = await memoryDataset([file], config.data, { vocabulary, sequence })
  const store = createStore(runtime, config)
  const program = await compileTraining({ runtime, config, data, store, ranks: null })
  await initialize(store, config.train.seed, initialScales(config))
  const ceiling = new Ceiling(async () => 1e9)
  await ceiling.measure()
  const events: TrainEvent[] = []
  const skipped: SkippedStep[] = []
  const kept: Kept[] = []
  const loop = new TrainingLoop(program, ceiling, 0, {
    log: null,
    emit: (event) => events.push(event),
    ...(keepsBatches && {
      keepBatch: async (step: SkippedStep) => {
        skipped.push(step)
        return 'the batch is here'
      },
    }),
    save: async (step, of) => {
      kept.push(of)
      return step
    },
  })
  const warnings = () => events.flatMap((event) => (event.kind === 'warning' ? [event.message] : []))
  const weight = floatsOf(store.parameter('layers.0.attention.qkv'))
  const release = async () => {
    loop.release()
    await program.trainer.release()
  }
  return { loop, events, skipped, kept, warnings, weight, release }
}

test('a step with a damaged parameter is skipped, named and kept; maxNonFinite in a row end the training', async () => {
  const { loop, skipped, kept, warnings, weight, release } = await start()
  await loop.step()
  const healthy = weight[5] as number
  expect(await loop.checkpoint()).toBe(1)
  weight[5] = Number.NaN
  for (const step of [2, 3]) {
    const { record } = await loop.step()
    expect(record).toMatchObject({ step, skipped: true })
    expect(warnings().at(-1)).toMatch(
      new RegExp(
        `^step ${step}: the .* in parameter layers.0.attention.qkv; no parameter was changed, the batch is here$`,
      ),
    )
    expect(skipped.at(-1)).toMatchObject({ step, where: 'in parameter layers.0.attention.qkv' })
    expect(skipped.at(-1)?.batch.tokens).toHaveLength(2 * 16)
  }
  await loop.checkpoint()

  // A step that is good begins the count again.
  weight[5] = healthy
  expect((await loop.step()).record.skipped).toBeUndefined()
  await loop.checkpoint()
  // Checkpoints of skipped steps push out no others. Branches begin where the rate decays: after 80 % of the steps.
  expect(kept).toEqual([3, Number.POSITIVE_INFINITY, 3].map((keep) => ({ keep, spared: 16 })))
  weight[5] = Number.NaN
  await loop.step()
  await loop.step()
  const failure = await loop.step().catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(RunError)
  expect((failure as RunError).message).toContain('stopping after 3 such steps in a row (train.maxNonFinite)')
  expect(loop.steps).toBe(7)
  await release()
})

test('a place that keeps no batches, such as a page, has the message without them', async () => {
  const { loop, warnings, weight, release } = await start({ keepsBatches: false })
  weight[5] = Number.NaN
  await loop.step()
  expect(warnings()).toEqual([expect.stringMatching(/^step 1: .*; no parameter was changed$/)])
  await release()
})

test('steps and evaluations give the records that they emit, and the loop ends at the last step', async () => {
  const { loop, events, release } = await start()
  for (let step = 1; step <= 20; step++) {
    expect(loop.isFinished).toBe(false)
    const { record } = await loop.step()
    expect(record).toMatchObject({ kind: 'train', step, tokens: step * 32 })
    // The event also says whether its MFU is an upper bound, which depends on the machine.
    expect(events.at(-1)).toMatchObject(record)
  }
  expect(loop.isFinished).toBe(true)
  const evaluation = await loop.evaluate()
  expect(evaluation).toMatchObject({ kind: 'eval', step: 20, capacity: 'eval' })
  expect(events.at(-1)).toBe(evaluation)
  expect(events.at(-2)).toMatchObject(loop.report.last as TrainRecord)
  expect(loop.report.evaluation).toEqual(evaluation)
  await release()
})
