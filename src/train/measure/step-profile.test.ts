import { expect, test } from 'vitest'
import { type RunInput, runSchema } from '../../core/config/run-config.ts'
import { anyVocabulary } from '../../core/config/testing/any-vocabulary.ts'
import { TrainingBench } from '../../node/measure/benchmark.ts'
import { JAVASCRIPT } from '../step/metrics/timeline.ts'

const configOf = (train: RunInput['train']) =>
  runSchema.parse({
    data: anyVocabulary,
    model: {
      vocabulary: 64,
      layers: 1,
      width: 32,
      heads: 2,
      sequence: 16,
      tied: true,
      moe: { experts: 4, hidden: 64 },
    },
    train: { batch: 4, ...train },
    runtime: { threads: 2 },
  })

async function record(train: RunInput['train'], warmUp: number, steps: number) {
  const bench = await TrainingBench.open(configOf(train), true)
  try {
    await bench.run(warmUp)
    bench.resetProfile()
    const timed = await bench.run(steps)
    return { timed, ...(await bench.recorded()) }
  } finally {
    await bench.close()
  }
}

test.each([1, 4])('a profile covers whole steps, and no step before a reset (%d micro-batches)', async (parts) => {
  const { timed, profile, trace } = await record({ microBatches: parts }, 2, 3)
  const wall = 1000 * timed.reduce((sum, { ms }) => sum + ms, 0)
  expect(profile.steps).toBe(3)
  expect(profile.microseconds).toBeLessThanOrEqual(wall)
  // A profile without one of the three steps would have two thirds.
  expect(profile.microseconds).toBeGreaterThan(0.75 * wall)
  const known = profile.nodes.reduce((sum, { microseconds }) => sum + microseconds, 0)
  expect(known).toBeLessThanOrEqual(profile.microseconds)
  // The rest is JavaScript, which is slow in the first steps of a process.
  expect(known).toBeGreaterThan(0.1 * profile.microseconds)
  for (const { microseconds, runs } of profile.nodes) {
    expect(microseconds).toBeGreaterThanOrEqual(0)
    expect(runs % 3).toBe(0)
  }
  expect(profile.bandwidth).toBeGreaterThan(1e8)

  const elements = 2 * 32 + 32 * 3 * 32 + 32 * 32 + 4 * 32 + 2 * 4 * 32 * 64 + 32 + 64 * 32
  const kernel = (kind: string) => profile.nodes.find((node) => node.kind === kind)
  expect(kernel('adamw')).toMatchObject({ provider: 'WASM', layer: 'optimizer', runs: 3, bytes: 3 * 28 * elements })
  expect(kernel('sumOfSquares')).toMatchObject({ runs: 3, bytes: 3 * 4 * elements })
  // Rows read by tokens (and by targets, without a kernel for cross-entropy): 64 of width 32, each read and updated once.
  const { runs = 0, bytes } = kernel('scatterAddRows') ?? {}
  const additions = runs / 3 / parts
  expect([1, 2]).toContain(additions)
  expect(bytes).toBeCloseTo(3 * additions * 12 * 64 * 32, 3)
  expect(kernel('scatterAddRows')?.layer).toBe('embedding')

  const rows = (thread: number) => trace.filter((event) => event.thread === thread)
  const phases = rows(JAVASCRIPT).filter(({ op }) => ['gradient', 'norm', 'update'].includes(op))
  expect(phases.map(({ op }) => op)).toEqual(['gradient', 'norm', 'update'])
  const [gradient] = phases
  const computing = rows(0)
  expect(computing.length).toBeGreaterThan(10)
  for (const { begin, end } of computing) {
    // Each thread has its own clock; the clocks agree within far less than a step.
    expect(begin).toBeGreaterThan((gradient?.begin ?? 0) - 1)
    expect(end).toBeLessThan((gradient?.end ?? 0) + 1)
  }
  expect(computing.some(({ layer }) => layer === 'layers.0.moe.router')).toBe(true)
  const programs = rows(JAVASCRIPT).filter(({ op }) => op === 'program' || op.startsWith('micro-batch'))
  const names = parts === 1 ? ['program'] : ['micro-batch 1', 'micro-batch 2', 'micro-batch 3', 'micro-batch 4']
  expect(programs.map(({ op }) => op)).toEqual(names)
})
