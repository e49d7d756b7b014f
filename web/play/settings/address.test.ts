import fc from 'fast-check'
import { expect, test } from 'vitest'
import { inAddressOfPlay, queryOf } from './address.ts'
import { defaultSecond, defaultSetting, defaultShared, offered, routers } from './settings.ts'

const settings = fc.record({
  router: fc.constantFrom(...(Object.keys(routers) as (keyof typeof routers)[])),
  k: fc.constantFrom(...offered.k),
  prototypes: fc.constantFrom(...offered.prototypes),
  capacity: fc.constantFrom(...offered.capacity),
  factor: fc.constantFrom(...offered.factor),
  balance: fc.constantFrom(...offered.balance),
})

test('every setting returns from its address, whose text needs no escapes', () => {
  fc.assert(
    fc.property(settings, settings, (a, b) => {
      const read = new URLSearchParams(queryOf(a, b))
      expect(inAddressOfPlay.a.read(read.get('a') ?? '')).toEqual(a)
      expect(inAddressOfPlay.b.read(read.get('b') ?? '')).toEqual(b)
      expect(queryOf(a, b)).not.toContain('%')
    }),
  )
})

test('defaults have no text, and what the controls do not offer is refused', () => {
  expect(queryOf(defaultSetting, defaultSecond)).toBe('')
  expect(queryOf({ ...defaultSetting, factor: 0.5 }, { ...defaultSecond, router: 'top-k', k: 2 })).toBe(
    '?a=factor-0.5&b=router-top-k_k-2',
  )
  const { both, a } = inAddressOfPlay
  expect(both.read('steps-300_seed-7_size-small')).toEqual({ ...defaultShared, steps: 300, seed: 7, size: 'small' })
  for (const text of ['steps-0', 'steps-1e9', 'seed--1', 'size-huge', 'colour-red', 'experts']) {
    expect(both.read(text), text).toBeUndefined()
  }
  expect(a.read('k-3')).toBeUndefined()
})
