import { expect, test } from 'vitest'
import { memoryWarning } from './memory.ts'

test('a training is warned of if its state needs more than the free memory of the machine', () => {
  const [cpu, gpu] = [{ device: 'cpu' }, { device: 'webgpu' }] as const
  expect(memoryWarning(cpu, { byteLength: 2e9 }, 1e9)).toMatch(/moments take 2\.00 GB, and 1\.00 GB of memory are free/)
  expect(memoryWarning(cpu, { byteLength: 1e9 }, 1e9)).toBeNull()
  expect(memoryWarning(gpu, { byteLength: 2e9 }, 1e9)).toBeNull()
})
