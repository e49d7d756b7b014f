import { expect, test } from 'vitest'
import type { ParameterSpec } from '../model/parameters.ts'
import { createArena } from '../runtime/cpu-arena.ts'
import { parameterTensors } from './named-tensors.ts'
import { ParameterStore } from './store.ts'

const spec = (name: string, shape: number[], decay: boolean): ParameterSpec => ({
  name,
  shape,
  decay,
  init: 'zeros',
  stacked: name.includes('{e}'),
})
const specs = [
  spec('norm', [3], false),
  spec('matrix', [5, 7], true),
  spec('experts.{e}.in', [2, 3, 3], true),
  spec('table', [4, 5], false),
]

test('ranges cover exactly the tensors: parameters, gradients and moments, with decay and without', () => {
  const store = new ParameterStore({ createArena }, specs, 2)
  const marks: [number, (name: string) => Float32Array][] = [
    [1, (name) => store.parameter(name)],
    [2, (name) => store.gradient(name)],
    [3, (name) => store.moment(name, 0)],
    [4, (name) => store.moment(name, 1)],
  ]
  for (const { name } of specs) for (const [mark, view] of marks) view(name).fill(mark)
  for (const { arena, parameters, gradients, moments, count, decay } of store.ranges()) {
    const numbers = specs.filter((spec) => spec.decay === decay).flatMap(({ name }) => [...store.parameter(name)])
    for (const [i, start] of [parameters, gradients, ...moments].entries()) {
      const found = [...arena.floats(start, count)].filter((value) => value !== 0)
      expect(found).toEqual(numbers.map(() => i + 1))
    }
  }
})

test('every tensor begins at a cache line', () => {
  const store = new ParameterStore({ createArena }, specs, 2)
  for (const { name } of specs)
    for (const view of [store.parameter(name), store.gradient(name), store.moment(name, 1)])
      expect(view.byteOffset % 64).toBe(0)
})

test('the tensors of a checkpoint are views, one per expert under its global id', () => {
  const store = new ParameterStore({ createArena }, specs, null)
  store.parameter('experts.{e}.in').forEach((_, i, all) => {
    all[i] = i
  })
  const second = parameterTensors(store).find(({ name }) => name === 'experts.1.in')
  expect(second).toMatchObject({ shape: [3, 3] })
  expect([...(second?.data ?? [])]).toEqual([9, 10, 11, 12, 13, 14, 15, 16, 17])
  expect(store.parameter('experts.{e}.in', 1)).toEqual(second?.data)
})

test('a tensor too large for a bank is refused by name', () => {
  expect(() => new ParameterStore({ createArena }, [spec('huge', [2 ** 28 + 1], true)], 2)).toThrow(
    /huge has 268435457 parameters/,
  )
})
