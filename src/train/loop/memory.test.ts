import { expect, test } from 'vitest'
import { memoryWarning } from './memory.ts'

test('a training whose state is more than the free memory of the machine is warned of', () => {
  const [cpu, gpu] = [{ device: 'cpu' }, { device: 'webgpu' }] as const
  expect(memoryWarning(cpu, { byteLength: 2e9 }, 1e9)).toMatch(/moments take 2\.00 GB, and 1\.00 GB of memory are free/)
  expect(memoryWarning(cpu, { byteLength: 1e9 }, 1e9)).toBeNull()
  expect(memoryWarning(gpu, { byteLength: 2e9 }, 1e9)).toBeNull()
})
