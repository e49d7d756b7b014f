import { expect, test } from 'vitest'
import { type RunConfig, runSchema } from '../../../core/config/run-config.ts'
import { anyVocabulary } from '../../../core/config/testing/any-vocabulary.ts'
import { parameterSpecs } from '../../../core/model/parameters.ts'
import { floatsOf } from '../../../engine/contract/arena.ts'
import { cpuMemory } from '../../../engine/testing/cpu-memory.ts'
import { createStore } from '../trainer.ts'

const config = (kind: 'adamw' | 'adafactor'): RunConfig =>
  runSchema.parse({
    data: anyVocabulary,
    // Sizes are odd, so that errors in padding or neighbours would show.
    model: {
      vocabulary: 101,
      layers: 2,
      width: 36,
      heads: 2,
      sequence: 8,
      hidden: 52,
      positions: 'learned',
      norm: 'layer',
      tied: false,
      moe: { every: 2, experts: 5, hidden: 20, sharedHidden: 12 },
    },
    train: { optimizer: { kind } },
  })

test.each(['adamw', 'adafactor'] as const)('no two tensors of a model share a number: %s', (kind) => {
  const run = config(kind)
  const store = createStore(cpuMemory, run)
  const views = parameterSpecs(run.model).flatMap(({ name }) => [
    floatsOf(store.parameter(name)),
    floatsOf(store.gradient(name)),
    ...(kind === 'adamw' ? [floatsOf(store.moment(name, 0)), floatsOf(store.moment(name, 1))] : []),
  ])
  let id = 0
  for (const view of views) for (let i = 0; i < view.length; i++) view[i] = ++id
  // Float32 holds every integer up to 2²⁴.
  expect(id).toBeLessThan(2 ** 24)
  let read = 0
  for (const view of views) for (const value of view) if (value !== ++read) throw new Error(`${read} became ${value}`)
  expect(read).toBe(id)
})

test('the view of an expert is its part of the stacked tensor, for parameters and gradients', () => {
  const store = createStore(cpuMemory, config('adamw'))
  const name = 'layers.1.moe.experts.{e}.'
  const spec = store.specs.find((candidate) => candidate.name.startsWith(name))
  if (!spec) throw new Error('no stacked tensor')
  const size = (spec.shape[1] as number) * (spec.shape[2] as number)
  for (const kind of ['parameter', 'gradient'] as const) {
    const view = (expert?: number) => floatsOf(store[kind](spec.name, expert))
    view(3)[7] = 42
    expect(view().indexOf(42)).toBe(3 * size + 7)
    view()[4 * size + 1] = 43
    expect(view(4)[1]).toBe(43)
    expect(view(3)).toHaveLength(size)
  }
})
