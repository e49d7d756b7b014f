import { expect, test } from 'vitest'
import { chooseGpu, gpuOfEnvironment } from './choose-gpu.ts'

const software = 'llvmpipe (LLVM 19.1.7, 256 bits)'
const cards = ['NVIDIA A', 'AMD B', software]
const equal = ['NVIDIA H100', 'NVIDIA H100', software]

test('a number chooses a GPU by its name, a software device too', () => {
  expect(cards.map((_, index) => chooseGpu(cards, { index, place: { rank: 1, size: 2 } }))).toEqual(cards)
})

test('a number without a GPU is refused with the list of GPUs', () => {
  expect(() => chooseGpu(cards, { index: 3 })).toThrow(
    'invalid gpu: 3 (expected an index from 0 to 2: 0 is NVIDIA A, 1 is AMD B, 2 is llvmpipe',
  )
  expect(() => chooseGpu([software], { index: 1 })).toThrow('invalid gpu: 1 (expected 0: 0 is llvmpipe')
})

test('a process alone gets the fastest GPU, and ranks of a machine get one each, without software devices', () => {
  expect(chooseGpu(cards, {})).toBe(null)
  expect(chooseGpu(cards, { place: { rank: 0, size: 1 } })).toBe(null)
  expect([0, 1].map((rank) => chooseGpu(cards, { place: { rank, size: 2 } }))).toEqual(['NVIDIA A', 'AMD B'])
  expect(() => chooseGpu(cards, { place: { rank: 2, size: 3 } })).toThrow(
    /^3 ranks are on this machine, .* 2 GPUs: 0 is/,
  )
})

test('ranks share a software device, and a single card may be one that each sees alone', () => {
  for (const names of [[software], ['NVIDIA H100', software]])
    for (const rank of [0, 1]) expect(chooseGpu(names, { place: { rank, size: 2 } })).toBe(null)
})

test('of GPUs with one name only the first can be opened, and the message says how to show each rank its own', () => {
  expect(chooseGpu(equal, { place: { rank: 0, size: 2 } })).toBe('NVIDIA H100')
  for (const choice of [{ place: { rank: 1, size: 2 } }, { index: 1 }])
    expect(() => chooseGpu(equal, choice)).toThrow(
      /^GPU 1 cannot be opened: 0 is NVIDIA H100, 1 is NVIDIA H100, .*DRI_PRIME/,
    )
  // Dawn takes the first name that contains the name it looks for.
  expect(() => chooseGpu(['NVIDIA H100 NVL', 'NVIDIA H100'], { index: 1 })).toThrow(/^GPU 1 cannot be opened/)
})

test('CHOIR_GPU is the number of a GPU', () => {
  expect(gpuOfEnvironment({})).toBe(undefined)
  expect(gpuOfEnvironment({ CHOIR_GPU: '' })).toBe(undefined)
  expect(gpuOfEnvironment({ CHOIR_GPU: '2' })).toBe(2)
  for (const text of ['-1', 'a', '1.5'])
    expect(() => gpuOfEnvironment({ CHOIR_GPU: text })).toThrow(/^invalid CHOIR_GPU: /)
})
