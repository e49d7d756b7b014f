/** A simulated rank holds the same data as a rank of a real world. */
import { expect, test } from 'vitest'
import { type RunConfig, type RunInput, runSchema } from '../../core/config/run-config.ts'
import { anyVocabulary } from '../../core/config/testing/any-vocabulary.ts'
import { ranksInProcess } from '../../engine/world/in-process/ranks.ts'
import { createStore, layoutOf, Trainer } from '../../train/step/trainer.ts'
import { openRuntime } from '../run/session.ts'
import { forRanks, groupOf } from './layout.ts'
import { simulateRank } from './simulate.ts'

type Optimizer = NonNullable<RunInput['train']>['optimizer']

const configOf = (parallel: RunInput['parallel'] = {}, optimizer: Optimizer = {}): RunConfig =>
  runSchema.parse({
    data: anyVocabulary,
    model: {
      vocabulary: 64,
      layers: 2,
      width: 16,
      heads: 2,
      sequence: 8,
      hidden: 32,
      moe: { experts: 8, hidden: 16 },
    },
    train: { batch: 8, schedule: { warmup: 0 }, optimizer },
    parallel,
    runtime: { threads: 1 },
  })

test.each([
  ['data only', configOf()],
  ['experts on all ranks', configOf({ expert: 4 })],
  ['experts on half of them', configOf({ expert: 2 })],
  ['rows of all ranks at once', configOf({ expert: 4, reproducible: false })],
  ['several shards', configOf({ expert: 2, shards: 8 })],
  ['Adafactor', configOf({ expert: 2 }, { kind: 'adafactor' })],
  ['moments in int8', configOf({ expert: 2 }, { state: 'int8' })],
])('%s: a simulated rank has as many bytes as a rank of a real world, and finite losses', async (_, config) => {
  const losses: number[] = []
  const simulated = await simulateRank(config, { ranks: 4, steps: 2, onStep: ({ loss }) => losses.push(loss) })
  expect(losses).toHaveLength(2)
  for (const loss of losses) expect(loss).toBeLessThan(2 * Math.log(64))

  const [first] = ranksInProcess(4)
  if (!first) throw new Error('no ranks')
  const used = forRanks(config, first, false)
  const runtime = await openRuntime(used, false, groupOf(used, first))
  const store = createStore(runtime, used, layoutOf(used, first))
  const bytes = store.byteLength
  const { parameters, gradients, optimizer, scratch, activations } = simulated.memory
  expect(parameters + gradients + optimizer + scratch).toBe(bytes)
  expect(parameters).toBe(store.regionBytes.parameters)
  // Programs with an exchange start threads that read the orders, which ranks in one process do not have.
  if (used.parallel.expert === 1) {
    const trainer = await Trainer.compile(runtime, used, store, undefined, first)
    expect(activations).toBe(trainer.programBytes)
    await trainer.release()
  }
  await runtime.close()
})

test('a rank sends as many bytes of gradients as it receives of parameters, and the other way round', async () => {
  const { traffic } = await simulateRank(configOf({ expert: 2 }), { ranks: 4, steps: 2 })
  expect(traffic.gradients.sentBytes).toBe(traffic.parameters.receivedBytes)
  expect(traffic.gradients.receivedBytes).toBe(traffic.parameters.sentBytes)
  expect(traffic.experts.sentBytes).toBe(traffic.experts.receivedBytes)
  expect(traffic.experts.sentBytes).toBeGreaterThan(0)
})
