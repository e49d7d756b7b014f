import { expect, test } from 'vitest'
import { RunError, UsageError } from '../../core/errors.ts'
import type { Ranks } from '../../engine/contract/ranks.ts'
import { ranksInProcess } from '../../engine/world/in-process/ranks.ts'
import { fromFirst, sharedError, together } from './agreement.ts'

/** The errors of three ranks. */
const errorsOf = (work: (ranks: Ranks) => Promise<unknown>): Promise<unknown[]> =>
  Promise.all(
    ranksInProcess(3).map((ranks) =>
      work(ranks).then(
        () => undefined,
        (error: unknown) => error,
      ),
    ),
  )

test('an error of one rank is thrown on all ranks, and names that rank', async () => {
  const errors = await errorsOf((ranks) =>
    together(ranks, () => {
      if (ranks.rank > 0) throw new RunError(`no space on rank ${ranks.rank}`)
    }),
  )
  expect(errors).toEqual(Array(3).fill(new RunError('no space on rank 1')))
  expect(errors.map(sharedError)).toEqual(Array(3).fill({ rank: 1 }))
})

test('an error that all ranks have, or that the first rank has for all, names no rank', async () => {
  const refuse = () => {
    throw new UsageError('invalid parallel.expert: 5')
  }
  for (const errors of [
    await errorsOf((ranks) => together(ranks, refuse)),
    await errorsOf((ranks) => fromFirst(ranks, refuse)),
  ]) {
    expect(errors).toEqual(Array(3).fill(new UsageError('invalid parallel.expert: 5')))
    expect(errors.map(sharedError)).toEqual(Array(3).fill({}))
  }
})
