import { describe, expect, it } from 'vitest'
import type { DifferencesAnswer } from '../../../../src/faces/watch/api.ts'
import { runWith } from '../../testing/run.ts'
import type { Line } from '../drawing/lines.ts'
import { differencesToCsv } from '../series/csv.ts'
import { differenceLines, pairCounts } from './difference-lines.ts'

const style = { color: '#000', dash: [] }
const lineOf = (x: number[], count: number[]): Line => ({
  run: 'a',
  name: 'a',
  style,
  x,
  y: x,
  band: { low: x.map(() => null), high: x.map(() => null), count },
  ofPairs: true,
})

const answer: DifferencesAnswer = {
  metric: 'eval/loss',
  x: 'step',
  fewestPairs: 3,
  differences: [
    { run: 'gone', x: [1], y: [1], low: [null], high: [null], pairs: [1], of: 1, leftOut: [], verdict: null },
    {
      run: 'b2',
      x: [10, 20],
      y: [-0.5, -0.25],
      low: [-1, null],
      high: [0, null],
      pairs: [3, 2],
      of: 2,
      leftOut: [],
      verdict: null,
    },
    { run: 'c1', x: [], y: [], low: [], high: [], pairs: [], of: 0, leftOut: [], verdict: null },
  ],
}
const contrast = (ids: readonly string[]) => ({
  arm: { name: `arm ${ids[0]}`, runs: ids.map((id) => runWith({ id })), repeated: [] },
  pairs: ids.slice(1).map((id) => [id, 'base'] as const),
  unpaired: [],
  problem: null,
})
// The first seed of b has no partner.
const contrasts = [contrast(['c0', 'c1']), contrast(['b1', 'b2'])]

describe('lines of differences', () => {
  it('have the style and the runs of their arm; an arm that is gone or has no values has none', () => {
    const lines = differenceLines(
      answer,
      contrasts,
      ({ name }) => name,
      () => style,
    )
    expect(lines).toEqual([
      {
        run: 'b1',
        otherRuns: ['b2'],
        name: 'arm b1',
        style,
        x: [10, 20],
        y: [-0.5, -0.25],
        band: { low: [-1, null], high: [0, null], count: [3, 2] },
        ofPairs: true,
      },
    ])
  })

  it('as CSV have their intervals and the numbers of their pairs', () => {
    const csv = differencesToCsv({ ...answer, differences: answer.differences.slice(1) }, ({ run }) => run, '=top')
    expect(csv.split('\r\n')).toEqual([
      'arm,baseline,step,eval/loss minus baseline,not smoothed,95 % low,95 % high,pairs',
      "b2,'=top,10,-0.5,-0.5,-1,0,3",
      "b2,'=top,20,-0.25,-0.25,,,2",
      '',
    ])
  })
})

describe('the number of pairs', () => {
  it('is given where it begins and where it changes', () => {
    expect(pairCounts([lineOf([10, 20, 30, 40], [4, 4, 3, 1])])).toEqual([
      { x: 10, text: '4 pairs' },
      { x: 30, text: '3 pairs' },
      { x: 40, text: '1 pair' },
    ])
    expect(pairCounts([])).toEqual([])
  })

  it('is that of each line where lines differ', () => {
    expect(pairCounts([lineOf([10, 20, 30], [4, 4, 2]), lineOf([10, 20], [3, 4])])).toEqual([
      { x: 10, y: 10, text: '4 pairs' },
      { x: 30, y: 30, text: '2 pairs' },
      { x: 10, y: 10, text: '3 pairs' },
      { x: 20, y: 20, text: '4 pairs' },
    ])
    // A line that has ended does not differ.
    expect(pairCounts([lineOf([10, 20, 30], [4, 4, 2]), lineOf([10, 20], [4, 4])])).toEqual([
      { x: 10, text: '4 pairs' },
      { x: 30, text: '2 pairs' },
    ])
  })

  it('is a range where many lines differ', () => {
    const lines = [lineOf([10, 20, 30], [3, 4, 2]), ...Array.from({ length: 6 }, () => lineOf([10, 20, 30], [4, 4, 2]))]
    expect(pairCounts(lines)).toEqual([
      { x: 10, text: '3 to 4 pairs' },
      { x: 20, text: '4 pairs' },
      { x: 30, text: '2 pairs' },
    ])
  })
})
