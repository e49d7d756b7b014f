import { describe, expect, test } from 'vitest'
import { integers } from '../../testing/draws.ts'
import { runKernel, testDevice } from '../../testing/run-kernel.ts'
import { keptInBuckets } from './buckets.ts'

describe.skipIf(testDevice === null)('kept-in-buckets', () => {
  const device = testDevice as NonNullable<typeof testDevice>

  test.each([
    [1, 1, 8, 1],
    [2, 3, 21, 5],
    [3, 2, 13, 40],
  ])(
    'keeps choices by the rules, %i groups, %i ranks, %i positions, %i experts',
    async (groups, ranks, sequence, experts) => {
      const shape = [groups, ranks, sequence, experts]
      const wanted = integers(groups * ranks * sequence * experts, 4, 5)
      const earned = integers(sequence * experts, 4, 6)
      const [maxSaved, start] = [3, Array.from({ length: ranks }, (_, rank) => 2 - rank)]
      const int32 = (shape: number[]) => ({ dtype: 'int32', shape }) as const
      const { kept_GKSN, ahead_GKSN, count_GN, kept_GN } = await runKernel(device, keptInBuckets, {
        attributes: { maxSaved, start },
        inputs: {
          wanted_GKSN: { ...int32(shape), data: wanted },
          earned_SN: { ...int32([sequence, experts]), data: earned },
        },
        outputs: {
          kept_GKSN: int32(shape),
          ahead_GKSN: int32(shape),
          count_GN: int32([groups, experts]),
          kept_GN: int32([groups, experts]),
        },
      })
      const expected = {
        kept: wanted.map(() => 0),
        ahead: wanted.map(() => 0),
        wanted: [] as number[],
        all: [] as number[],
      }
      for (let g = 0; g < groups; g++)
        for (let n = 0; n < experts; n++) {
          const saved = [...start]
          let over = start.map(() => 0)
          let [queued, seen] = [0, 0]
          for (let s = 0; s < sequence; s++) {
            const earlier = over
            over = start.map(() => 0)
            for (let rank = 0; rank < ranks; rank++) {
              const at = ((g * ranks + rank) * sequence + s) * experts + n
              const income = rank === 0 ? (earned[s * experts + n] as number) : (earlier[rank - 1] as number)
              const has = (saved[rank] as number) + income
              const here = Math.min(wanted[at] as number, has)
              saved[rank] = Math.min(maxSaved, has - here)
              over[rank] = has - here - (saved[rank] as number)
              expected.kept[at] = here
              expected.ahead[at] = queued
              queued += here
              seen += wanted[at] as number
            }
          }
          expected.wanted.push(seen)
          expected.all.push(queued)
        }
      expect([...kept_GKSN]).toEqual([...expected.kept])
      expect([...ahead_GKSN]).toEqual([...expected.ahead])
      expect([...count_GN]).toEqual(expected.wanted)
      expect([...kept_GN]).toEqual(expected.all)
    },
  )
})
