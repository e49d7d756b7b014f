import fc from 'fast-check'
import { expect, test } from 'vitest'
import { packLoads } from '../../src/faces/watch/share/snapshots.ts'
import { unpackLoads } from './unpack.ts'

test('loads arrive as they were packed, up to the largest whole numbers of 24 bits', () => {
  // A float holds every whole number up to 2²⁴.
  const counts = fc.array(fc.oneof(fc.nat(300), fc.nat(2 ** 24)), { maxLength: 60 })
  fc.assert(
    fc.property(counts, (loads) => {
      expect([...unpackLoads(packLoads(Float32Array.from(loads)))]).toEqual(loads)
    }),
  )
  expect([...unpackLoads(packLoads(Float32Array.of(2 ** 31)))]).toEqual([2 ** 31])
})

test('packed loads of a real size take about a byte and a half for each count', () => {
  const loads = Float32Array.from({ length: 20_000 }, (_, i) => 256 + Math.round(60 * Math.sin(i * i)))
  expect(packLoads(loads).length / loads.length).toBeLessThan(1.6)
})
