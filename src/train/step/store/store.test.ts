import { expect, test } from 'vitest'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import { type ArenaRange, floatsOf } from '../../../engine/contract/arena.ts'
import { cpuMemory } from '../../../engine/testing/cpu-memory.ts'
import { parameterTensors } from './named-tensors.ts'
import { parameterRanges } from './parameter-ranges.ts'
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
  const store = new ParameterStore(cpuMemory, specs, 2)
  const marks: [number, (name: string) => Float32Array][] = [
    [1, (name) => floatsOf(store.parameter(name))],
    [2, (name) => floatsOf(store.gradient(name))],
    [3, (name) => floatsOf(store.moment(name, 0))],
    [4, (name) => floatsOf(store.moment(name, 1))],
  ]
  for (const { name } of specs) for (const [mark, view] of marks) view(name).fill(mark)
  for (const { arena, parameters, gradients, moments, count, spec } of parameterRanges(store)) {
    const numbers = specs
      .filter(({ decay }) => decay === spec.decay)
      .flatMap(({ name }) => [...floatsOf(store.parameter(name))])
    for (const [i, start] of [parameters, gradients, ...moments].entries()) {
      const found = [...floatsOf({ arena, start: start, count })].filter((value) => value !== 0)
      expect(found).toEqual(numbers.map(() => i + 1))
    }
  }
})

test('every tensor begins at a cache line', () => {
  const store = new ParameterStore(cpuMemory, specs, 2)
  for (const { name } of specs)
    for (const view of [
      floatsOf(store.parameter(name)),
      floatsOf(store.gradient(name)),
      floatsOf(store.moment(name, 1)),
    ])
      expect(view.byteOffset % 64).toBe(0)
})

test('the tensors of a checkpoint are ranges of the store, one per expert under its global id', () => {
  const store = new ParameterStore(cpuMemory, specs, null)
  floatsOf(store.parameter('experts.{e}.in')).forEach((_, i, all) => {
    all[i] = i
  })
  const second = parameterTensors(store).find(({ name }) => name === 'experts.1.in')
  expect(second).toMatchObject({ shape: [3, 3] })
  expect([...floatsOf(second?.range as ArenaRange)]).toEqual([9, 10, 11, 12, 13, 14, 15, 16, 17])
  expect(store.parameter('experts.{e}.in', 1)).toEqual(second?.range)
})

test('a tensor too large for a bank is refused by name', () => {
  expect(() => new ParameterStore(cpuMemory, [spec('huge', [2 ** 28 + 1], true)], 2)).toThrow(
    /huge has 268435457 parameters/,
  )
})

test('a model that is larger than the memory of the machine is refused before any of it is taken', () => {
  const allocated: number[] = []
  const memory = (memoryBytes: number) => ({
    memoryBytes,
    maxArenaBytes: 2 ** 20,
    createArena: (bytes: number) => {
      allocated.push(bytes)
      return cpuMemory.createArena(bytes)
    },
  })
  // Each tensor has 16 KiB, and 4 times as much with its gradient and moments: no arena is too large, but all together
  // are.
  const large = Array.from({ length: 10 }, (_, i) => spec(`matrix.${i}`, [64, 64], true))
  expect(() => new ParameterStore(memory(600_000), large, 2)).toThrow(
    'parameters, gradients and moments take 655 kB, and it has 600 kB of memory',
  )
  expect(() => new ParameterStore(memory(160_000), large, null)).toThrow(
    'its parameters take 164 kB, and it has 160 kB',
  )
  expect(allocated).toEqual([])
  new ParameterStore(memory(600_000), large, null)
  new ParameterStore(memory(700_000), large, 2)
  expect(allocated.length).toBeGreaterThan(0)
})
