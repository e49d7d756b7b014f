/** The set-up of a study: what is common is in one line, and what differs is in the table. */
import { describe, expect, test } from 'vitest'
import type { Cell, Exact } from '../../../report/blocks.ts'
import { type StudySketch, studyOf } from '../../testing/results.ts'
import { analyse } from '../analyse.ts'

const setUpOf = (sketch: StudySketch) => {
  const section = analyse(studyOf(sketch)).sections.find(({ id }) => id === 'set-up')
  const [table] = section?.blocks.flatMap((block) => (block.kind === 'table' ? [block] : [])) ?? []
  return { verdicts: section?.verdicts, table }
}
const textOf = (cell: Cell): string => (typeof cell === 'string' ? cell : 'text' in cell ? cell.text : '')
const exactOf = (cell: Cell | undefined): Exact | undefined =>
  typeof cell === 'object' && 'exact' in cell ? cell.exact : undefined

const same = {
  'model.layers': 3,
  'model.width': 48,
  'model.sequence': 64,
  'model.moe.experts': 8,
  'train.batch': 32,
  'train.schedule.learningRate': 0.013,
}

describe('the set-up', () => {
  test('has one line for what all arms share, and no column for it', () => {
    const { verdicts, table } = setUpOf({ arms: { base: { settings: same }, arm: { settings: same } } })
    expect(verdicts).toEqual([
      'All arms have 3 layers, width 48, 8 experts a layer, 1.10 M active parameters, 4.12 M parameters, 1,000 steps, batches of 32 sequences, sequences of 64 tokens, 4.10 M training tokens, 50.0k held-out tokens, learning rate 0.013 and 5 seeds.',
    ])
    expect(table?.columns.map(({ title }) => title)).toEqual(['Arm', 'FLOPs a token'])
  })

  test('has a column for what differs, with all digits for programs, and no such setting among the changes', () => {
    const { verdicts, table } = setUpOf({
      arms: {
        base: { settings: same },
        large: { settings: { ...same, 'model.width': 64, 'train.schedule.learningRate': 0.01 }, parameters: 8_254_321 },
        dense: { settings: { 'model.moe': null, 'model.layers': 3, 'model.width': 48, 'model.hidden': 344 } },
        'two seeds': { settings: same, failed: [0, 1, 2] },
      },
    })
    expect(verdicts?.[0]).toMatch(/^All arms have 3 layers, 1\.10 M active parameters, 1,000 steps, /)
    expect(verdicts?.[0]).not.toMatch(/width|seeds|experts|rate/)
    expect(table?.columns.map(({ title }) => title)).toEqual([
      ...['Arm', 'Changes', 'Width', 'Experts', 'Parameters', 'Batch', 'Sequence', 'Learning rate', 'Seeds'],
      'FLOPs a token',
    ])
    const rows = table?.rows.map((row) => row.map(textOf)) ?? []
    expect(rows.map((row) => row.slice(0, 5))).toEqual([
      ['base', '–', '48', '8', '4.12 M'],
      ['large', '–', '64', '8', '8.25 M'],
      ['dense', 'dense, hidden=344', '48', '–', '4.12 M'],
      ['two seeds', '–', '48', '8', '4.12 M'],
    ])
    expect(rows.map((row) => row[8])).toEqual(['5', '5', '5', '2'])
    expect(rows[1]?.[7]).toBe('0.01')
    expect(exactOf(table?.rows[1]?.[4])).toEqual({ values: [8_254_321] })
  })

  test('of a grid has no changes, since they are the names of its arms, and none without runs', () => {
    const arms = { 'k=1': { settings: { k: 1 } }, 'k=2': { settings: { k: 2 } } }
    expect(setUpOf({ arms }).table?.columns.map(({ title }) => title)).toEqual(['Arm', 'FLOPs a token'])
    const failed = [0, 1, 2, 3, 4]
    expect(setUpOf({ arms: { a: { failed }, b: { failed } } }).verdicts).toBeUndefined()
    expect(setUpOf({ arms: { a: {}, b: { failed } } }).verdicts?.[0]).toMatch(/^The arm a has /)
  })
})
