/** Arms with the `sinkhorn` router at a capacity: they balance loads in training only, and are compared without a limit. */
import { expect, test } from 'vitest'
import type { Cell, Table } from '../../report/blocks.ts'
import { claimSchema } from '../claim.ts'
import { type StudySketch, studyOf } from '../testing/results.ts'
import { analyse } from './analyse.ts'
import { answersOf } from './claims/answers.ts'
import { Runs } from './runs.ts'

const text = (cell: Cell | undefined): string =>
  typeof cell === 'string' ? cell : cell && 'text' in cell ? cell.text : ''
const cell = (table: Table, row: number, title: string): Cell | undefined =>
  table.rows[row]?.[table.columns.findIndex((column) => column.title === title)]

// With nothing dropped the arm is better than its baseline by 0.05; at the capacity of training most of its choices are
// dropped, and it is worse by 0.5. The other arm is worse at both.
const settings = { 'model.moe.router': 'sinkhorn', 'model.moe.capacity': 'kx' }
const arms = {
  base: { at: { none: -0.05 } },
  sinkhorn: { settings, effect: 0.5, dropRate: 0.6, jitter: 0.001, at: { none: -0.6 } },
  other: { effect: 0.1, jitter: 0.001, at: { none: -0.04 } },
}
const sectionOf = (sketch: StudySketch, wanted: string) =>
  analyse(studyOf(sketch)).sections.find(({ id }) => id === wanted)
const rowsOf = (sketch: StudySketch) => {
  const section = sectionOf(sketch, 'plain')
  const [contrasts] = (section?.blocks ?? []).filter((block): block is Table => block.kind === 'table')
  if (!contrasts) throw new Error('no table of contrasts')
  return {
    contrasts,
    rows: contrasts.rows.map((_, i) => ['Arm', 'Difference', 'Dropped'].map((at) => text(cell(contrasts, i, at)))),
  }
}

test('an arm that balances loads in training only is marked, and both arms of its pairs have no capacity limit', () => {
  const { contrasts, rows } = rowsOf({ arms })
  expect(rows).toEqual([
    ['sinkhorn ¶', '−0.0500', '0.0 %'],
    ['other', '+0.1000', '3.0 %'],
  ])
  expect(contrasts.caption).toMatch(
    /¶ balances loads in training only.*both arms are evaluated without a capacity limit/,
  )
  expect(sectionOf({ arms }, 'summary')?.verdicts.join(' ')).toContain(
    'comparisons with sinkhorn (¶), which balances loads in training only, are made without a capacity limit',
  )
})

test('an arm that balances loads in training only is ranked with all other arms at one capacity', () => {
  // Without a limit the arm has 3 − 0.1, the baseline 2.95, and the other arm 3.06.
  expect(sectionOf({ arms, seeds: [0] }, 'arms')?.verdicts).toEqual([
    'The causal arm with the lowest held-out loss is sinkhorn: 2.900 nats a token.',
  ])
  const claim = {
    kind: 'trend',
    statement: 'It falls',
    arms: ['base', 'sinkhorn'],
    over: 'parameters',
    expect: 'falls',
  }
  const sized = { base: { ...arms.base, parameters: 1e6 }, sinkhorn: { ...arms.sinkhorn, parameters: 2e6 } }
  const [answer] = answersOf(new Runs(studyOf({ arms: sized, claims: [claimSchema.parse(claim)] })))
  expect(answer?.deciding?.effect?.mean).toBeCloseTo(-0.05, 9)
})

test('an arm with the sinkhorn router is like any other arm if it is trained without a capacity', () => {
  const dropless = { ...arms.sinkhorn, settings: { ...settings, 'model.moe.capacity': 'none' } }
  const { contrasts, rows } = rowsOf({ arms: { ...arms, sinkhorn: dropless } })
  expect(rows[0]).toEqual(['sinkhorn', '+0.5000 ‡', '60.0 %'])
  expect(contrasts.caption).not.toContain('¶')
})

test('a study of dense arms has no columns of routing', () => {
  const dense = { settings: { 'model.moe': null } }
  const columnsIn = (sketch: StudySketch, id: string) =>
    (sectionOf(sketch, id)?.blocks ?? []).flatMap((block) =>
      block.kind === 'table' ? block.columns.map(({ title }) => title) : [],
    )
  const all = { arms: { base: dense, wide: { settings: { 'model.moe': null, 'model.hidden': 64 }, effect: 0.1 } } }
  expect(columnsIn(all, 'plain')).not.toContain('Dropped')
  expect(columnsIn(all, 'arms')).toContain('Loss')
  for (const title of ['Dropped', 'c_v', 'Gate']) expect(columnsIn(all, 'arms')).not.toContain(title)
  const mixed = { arms: { base: dense, sparse: { effect: 0.1 } } }
  expect(columnsIn(mixed, 'plain')).toContain('Dropped')
  expect(columnsIn(mixed, 'arms')).toContain('c_v')
})
