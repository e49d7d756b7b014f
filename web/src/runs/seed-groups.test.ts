import { describe, expect, it } from 'vitest'
import type { RunSummary } from '../../../src/faces/watch/api.ts'
import { runWith } from '../testing/run.ts'
import { groupedRows, statesText, withMembers } from './seed-groups.ts'

const run = (id: string, k: number, fields: Partial<RunSummary> = {}) =>
  runWith({ id, name: `k${k}, seed ${id}`, config: { k }, ...fields })
const rowsOf = (runs: readonly RunSummary[]) =>
  groupedRows(
    runs,
    ({ config }) => (config.k === undefined ? null : String(config.k)),
    (names) => names.join('+'),
  )

describe('rows of seeds', () => {
  it('have the means of their runs with the range, and the sums of their steps', () => {
    const [row] = rowsOf([
      run('a', 1, { loss: 3, heldOutLoss: 3.5, tokensPerSecond: 100 }),
      run('b', 1, { loss: 4, heldOutLoss: 4.5, tokensPerSecond: null }),
    ])
    expect(row?.run).toMatchObject({ name: 'k1, seed a+k1, seed b', loss: 3.5, heldOutLoss: 4, tokensPerSecond: 100 })
    expect(row?.run).toMatchObject({ step: 200, steps: 200, state: 'finished' })
    expect(row?.group?.spreads).toEqual({ loss: [3, 4], held_out: [3.5, 4.5], tokens_per_second: undefined })
  })

  it('leave an experiment of one run, and runs without a configuration, as they are', () => {
    const rows = rowsOf([run('a', 1), run('b', 2), run('c', 1), runWith({ id: 't' }), runWith({ id: 'u' })])
    expect(rows.map(({ id, group }) => [id, group?.runs.length ?? 1])).toEqual([
      ['a-seeds', 2],
      ['b', 1],
      ['t', 1],
      ['u', 1],
    ])
  })

  it('average finished runs only; while there are none, all that have not failed', () => {
    const going = [run('a', 1, { loss: 8, state: 'running', step: 10 }), run('b', 1, { loss: 6, state: 'running' })]
    const failed = run('f', 1, { loss: 1e9, state: 'failed' })
    expect(rowsOf([...going, failed])[0]?.run).toMatchObject({ loss: 7, state: 'failed' })
    const row = rowsOf([...going, failed, run('d', 1, { loss: 3 })])[0]
    expect(row?.run.loss).toBe(3)
    expect(statesText(row?.group?.runs ?? [])).toBe('2 running, 1 failed, 1 finished')
  })

  it('list their runs below them if they are open', () => {
    const rows = rowsOf([run('a', 1), run('b', 1), run('c', 2)])
    const shown = withMembers(
      rows,
      ({ id }) => id === 'a-seeds',
      (runs) => runs.toReversed(),
    )
    expect(shown.map(({ id }) => id)).toEqual(['a-seeds', 'b', 'a', 'c'])
    expect(
      withMembers(
        rows,
        () => false,
        (runs) => runs,
      ).map(({ id }) => id),
    ).toEqual(['a-seeds', 'c'])
  })
})
