import { expect, test } from 'vitest'
import type { LineFigure } from '../../report/blocks.ts'
import type { StudyResults } from '../contract.ts'
import { studyOf } from '../testing/results.ts'
import { analyse } from './analyse.ts'

const sketch = { effect: -0.02, jitter: 0.001 }
const results = studyOf({ arms: { base: {}, arm: sketch, other: sketch }, seeds: [0, 1, 2] })

/** The same results, but in one seed of one arm every step of the bin at step 500 was skipped. */
const skipped: StudyResults = {
  ...results,
  cells: results.cells.map((cell) => {
    const { arm, seed, record } = cell
    if (arm !== 'arm' || seed !== 1 || record?.status !== 'finished') return cell
    const { step, loss } = record.train
    return { ...cell, record: { ...record, train: { step, loss: loss.map((value, i) => (i === 4 ? null : value)) } } }
  }),
}

const id = 'plain-difference'
const line = (study: StudyResults, name: string) => {
  const blocks = analyse(study).sections.flatMap((section) => section.blocks)
  const figure = blocks.find((block): block is LineFigure => block.kind === 'figure' && block.id === id)
  return { caption: figure?.caption, series: figure?.series.find((one) => one.name === name) }
}

test('a bin without a loss is a gap in the difference, and nothing else changes', () => {
  const [whole, broken] = [line(results, 'arm'), line(skipped, 'arm')]
  const at = whole.series?.x.indexOf(500) ?? -1
  const withGap = (values: readonly (number | null)[] = []) => values.map((value, i) => (i === at ? null : value))
  expect(at).toBeGreaterThan(0)
  expect(broken.series).toEqual({
    ...whole.series,
    y: withGap(whole.series?.y),
    low: withGap(whole.series?.low),
    high: withGap(whole.series?.high),
  })
  expect(broken.caption).toMatch(/interrupted where a seed has no value\.$/)
  expect(whole.caption).not.toContain('interrupted')
})

test('the line of an arm without skipped steps has no gap', () => {
  expect(line(skipped, 'other').series).toEqual(line(results, 'other').series)
  expect(line(skipped, 'other').series?.y).not.toContain(null)
})
