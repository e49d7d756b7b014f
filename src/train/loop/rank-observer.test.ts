import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { runSchema } from '../../core/config/run-config.ts'
import { anyVocabulary } from '../../core/config/testing/any-vocabulary.ts'
import type { Ranks } from '../../engine/contract/ranks.ts'
import type { Executable, Runtime } from '../../engine/contract/runtime.ts'
import { ranksInProcess } from '../../engine/world/in-process/ranks.ts'
import { openRuntime } from '../../node/run/session.ts'
import type { RanksRecord } from '../step/metrics/records.ts'
import { initialize, initialScales } from '../step/store/initialize.ts'
import { alone } from '../step/store/placement.ts'
import { createStore, Trainer } from '../step/trainer.ts'
import type { RanksSummary } from './events.ts'
import { RankObserver } from './rank-observer.ts'

const RANKS = 3
const STEPS = 24
const SLOW = { rank: 1, ms: 40 }

const config = runSchema.parse({
  data: anyVocabulary,
  model: { vocabulary: 64, layers: 2, width: 16, heads: 2, sequence: 8, moe: { experts: 4, hidden: 16 } },
  train: { batch: 2 * RANKS, steps: STEPS },
  parallel: { shards: RANKS },
  runtime: { threads: 1 },
})

/** The runtime with programs that take `ms` longer. */
function slowed(runtime: Runtime, ms: number): Runtime {
  const slowedExecutable = (executable: Executable): Executable =>
    override(executable, {
      bind: (...ports) => {
        const binding = executable.bind(...ports)
        return override(binding, {
          async enqueue(options) {
            await sleep(ms)
            return binding.enqueue(options)
          },
        })
      },
    })
  return override(runtime, { compile: async (...program) => slowedExecutable(await runtime.compile(...program)) })
}

/** An object with some of its methods replaced. */
function override<T extends object>(object: T, methods: Partial<T>): T {
  return new Proxy(object, {
    get(target, name) {
      const value: unknown = Reflect.get(name in methods ? methods : target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

interface Trained {
  readonly records: readonly RanksRecord[]
  readonly warnings: readonly string[]
  readonly summary: RanksSummary | null
}

async function trainOne(runtime: Runtime, ranks: Ranks): Promise<Trained> {
  const layout = { ...alone, shards: RANKS, rank: ranks.rank, ranks: RANKS }
  const store = createStore(runtime, config, layout)
  const trainer = await Trainer.compile(runtime, config, store, undefined, ranks)
  await initialize(store, 1, initialScales(config))
  const records: RanksRecord[] = []
  const warnings: string[] = []
  const observer = new RankObserver(config, ranks, trainer.allToAlls, {
    observed: ({ record }) => records.push(record),
    warn: (message) => warnings.push(message),
    notice: () => expect.unreachable(),
  })
  const tokens = Int32Array.from({ length: config.train.batch * config.model.sequence }, (_, t) => (t * 7) % 64)
  let step = 0
  while (!(await observer.isStopped({ aborted: step === STEPS && ranks.rank === 2 }))) {
    const computing = trainer.step(++step, { tokens, targets: tokens })
    observer.report()
    observer.stepDone(step, await computing)
  }
  // All ranks learn that one of them has been asked to stop.
  expect(step).toBe(STEPS)
  await trainer.release()
  const summary = observer.summary()
  return { records, warnings, summary }
}

test('a rank that is really slow is measured, costs the others its delay, and is reported', async () => {
  const runtimes = await Promise.all(Array.from({ length: RANKS }, () => openRuntime(config)))
  try {
    const worlds = ranksInProcess(RANKS)
    const all = await Promise.all(
      runtimes.map((runtime, rank) =>
        trainOne(rank === SLOW.rank ? slowed(runtime, SLOW.ms) : runtime, worlds[rank] as Ranks),
      ),
    )
    const [{ records, warnings, summary }, ...others] = all as [Trained, ...Trained[]]
    for (const other of others) expect(other).toEqual({ records: [], warnings: [], summary: null })
    expect(records.map(({ step }) => step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1))
    // Timers may fire a moment early.
    const least = SLOW.ms - 2
    for (const {
      step_ms,
      compute_ms,
      all_to_all_ms,
      all_reduce_ms,
      wait_ms,
      waited_for_ms,
      kept_per_rank,
    } of records) {
      expect(kept_per_rank).toBeUndefined()
      for (let rank = 0; rank < RANKS; rank++) {
        const parts = [compute_ms, all_to_all_ms, all_reduce_ms, wait_ms].map((times) => times[rank] as number)
        expect(parts.reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(step_ms[rank] as number, 6)
        expect(all_to_all_ms[rank]).toBe(0)
      }
      expect(compute_ms[SLOW.rank]).toBeGreaterThan(least)
      expect(waited_for_ms[SLOW.rank]).toBeLessThanOrEqual(Math.max(...wait_ms))
    }
    // One process computes for all ranks, so only the median step shows the delay alone.
    const medianOf = (values: readonly number[]) => values.toSorted((a, b) => a - b)[STEPS / 2] as number
    const waits = (rank: number) => medianOf(records.map(({ wait_ms }) => wait_ms[rank] as number))
    expect(waits(0)).toBeGreaterThan(SLOW.ms / 2)
    expect(waits(2)).toBeGreaterThan(SLOW.ms / 2)
    expect(waits(SLOW.rank)).toBeLessThan(SLOW.ms / 2)
    expect(warnings).toEqual([expect.stringMatching(/^rank 1 \(here, PID \d+\) computes \d+\.\d\d times as long/)])
    expect(summary?.slow).toMatchObject({ rank: SLOW.rank })
  } finally {
    await Promise.all(runtimes.map((runtime) => runtime.close()))
  }
})

test('the first rank reports each growth of the memory of a rank once', async () => {
  const notices: string[] = []
  const observers = ranksInProcess(RANKS).map((ranks) => {
    const fail = () => expect.unreachable()
    const notice = (message: string) => (ranks.rank === 0 ? notices.push(message.replace(/PID \d+/, 'PID N')) : fail())
    return new RankObserver(config, ranks, [], { observed: fail, warn: fail, notice })
  })
  for (const now of [4e6, 6e6, 6e6, 8e6]) {
    const growth = { before: 4e6, now, most: 9e6 }
    await Promise.all(observers.map((each, rank) => each.isStopped(undefined, rank === 2 && now > 4e6 ? growth : null)))
  }
  const rank = 'rank 2 (here, PID N): more rows arrive for its experts than parallel.headroom=2 has room for: '
  const most = '(at most 9.00 MB, if all tokens of the 1 ranks choose its experts)'
  expect(notices).toEqual([
    `${rank}its memory for activations has grown from 4.00 MB to 6.00 MB ${most}`,
    `${rank}its memory for activations has grown from 6.00 MB to 8.00 MB ${most}`,
  ])
})

test('a process without other ranks measures nothing', async () => {
  const runtime = await openRuntime(config)
  try {
    const store = createStore(runtime, config)
    const trainer = await Trainer.compile(runtime, config, store)
    await initialize(store, 1, initialScales(config))
    const tokens = new Int32Array(config.train.batch * config.model.sequence)
    const outcome = await trainer.step(1, { tokens, targets: tokens })
    expect(outcome).toMatchObject({ own: null, keptByRank: null })
    const fail = () => expect.unreachable()
    const observer = new RankObserver(config, null, trainer.allToAlls, { observed: fail, warn: fail, notice: fail })
    observer.stepDone(1, outcome)
    expect(await observer.isStopped({ aborted: false })).toBe(false)
    expect(await observer.isStopped({ aborted: true })).toBe(true)
    expect(observer.summary()).toBeNull()
    await trainer.release()
  } finally {
    await runtime.close()
  }
})
