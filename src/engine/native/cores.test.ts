import { availableParallelism } from 'node:os'
import { expect, test } from 'vitest'
import { countCores, cpuQuota, physicalCores } from './cores.ts'

/** Two packages with two cores of two hyper-threads each, numbered as in Linux: siblings are 4 apart. */
const cpuinfo = Array.from({ length: 8 }, (_, processor) => {
  const core = processor % 4
  return `processor\t: ${processor}\nphysical id\t: ${core >> 1}\nsiblings\t: 4\ncore id\t\t: ${core & 1}\ncpu cores\t: 2\n`
}).join('\n')

test('hyper-threads of one core count once, equal core ids in two packages twice', () => {
  expect(countCores(cpuinfo, 'Cpus_allowed_list:\t0-7\n')).toBe(4)
  expect(countCores(cpuinfo, '')).toBe(4)
})

test('only cores that the process may use count', () => {
  expect(countCores(cpuinfo, 'Name:\tnode\nCpus_allowed_list:\t0,4\n')).toBe(1)
  expect(countCores(cpuinfo, 'Cpus_allowed_list:\t1-2,5-6\n')).toBe(2)
})

test('without core ids there is no count', () => {
  expect(countCores('processor\t: 0\nBogoMIPS\t: 50.00\n', '')).toBeUndefined()
  expect(countCores('', '')).toBeUndefined()
})

test('a container quota is rounded up to whole processors', () => {
  expect(cpuQuota('150000 100000\n')).toBe(2)
  expect(cpuQuota('50000 100000\n')).toBe(1)
  expect(cpuQuota('max 100000\n')).toBe(Number.POSITIVE_INFINITY)
  expect(cpuQuota('')).toBe(Number.POSITIVE_INFINITY)
})

test('this machine has at least one core and at most its logical processors', () => {
  expect(physicalCores()).toBeGreaterThanOrEqual(1)
  expect(physicalCores()).toBeLessThanOrEqual(availableParallelism())
})
