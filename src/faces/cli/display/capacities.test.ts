import pc from 'picocolors'
import { expect, test } from 'vitest'
import { fitted } from '../../../core/text/columns.ts'
import type { CapacityEvaluation, EvalRecord } from '../../../train/step/metrics/records.ts'
import { capacityTable, droplessNote, ruleText } from './capacities.ts'

const plainColors = pc.createColors(false)
const at = (loss: number, drop_rate = 0, unserved_rate = 0): CapacityEvaluation => ({
  loss,
  bits_per_byte: loss / 2,
  drop_rate,
  unserved_rate,
})

function record(capacity: EvalRecord['capacity'], capacities: EvalRecord['capacities']): EvalRecord {
  const routing = { load_cv: 0, load_cv_kept: 0, dead_experts: 0, gate_mean: 1, gate_entropy: 1, entropy_share: 1 }
  const others = { aux_loss: 1, z_loss: 1, ...routing, evaluated_tokens: 1 }
  return { kind: 'eval', step: 1, tokens: 1, ...others, ...capacities[capacity], capacity, capacities }
}

const different = { train: at(3.61, 0.04, 0.021), eval: at(3.5754, 0.001), none: at(3.571) }
const equal = { train: at(3.5), eval: at(3.5), none: at(3.5) }

test('the dropless loss is added only if it differs in three decimals', () => {
  expect(droplessNote(record('eval', different))).toBe(' (dropless 3.571)')
  expect(droplessNote(record('eval', { ...different, none: at(3.5758) }))).toBe('')
  expect(droplessNote(record('none', different))).toBe('')
  expect(droplessNote(record('eval', equal))).toBe('')
})

test('a loss is named by its capacity rule, or by no rule if nothing is dropped', () => {
  expect(ruleText(record('train', different))).toBe('at the training capacity')
  expect(ruleText(record('eval', different))).toBe('at the evaluation capacity')
  expect(ruleText(record('none', different))).toBe('dropless')
  expect(ruleText(record('none', equal))).toBe('at any capacity: nothing is dropped')
  // With expert-choice nothing is dropped either, but losses differ.
  expect(ruleText(record('none', { ...equal, none: at(3.6) }))).toBe('dropless')
})

test('the table has one line per rule, and is empty if nothing depends on the rule', () => {
  const [head, ...rows] = capacityTable(record('none', different), plainColors)
    .split('\n')
    .filter((line) => /\d|bits/.test(line))
  expect(rows.map((row) => row.trim().split(/ {2,}/))).toEqual([
    ['training capacity', '3.6100', '1.8050', '4.0 %', '2.1 %'],
    ['evaluation capacity', '3.5754', '1.7877', '0.1 %', '0.0 %'],
    ['dropless', '3.5710', '1.7855', '0.0 %', '0.0 %'],
  ])
  // Numbers are aligned with their titles.
  for (const row of rows) expect(row.length).toBe(head?.length)
  expect(capacityTable(record('none', equal), plainColors)).toBe('')
})

test('on a narrow terminal the table is narrower, and on a very narrow one each rule is a line of named values', () => {
  const linesIn = (columns: number) =>
    fitted(capacityTable(record('none', different), plainColors, columns), columns).split('\n')
  for (const columns of [40, 60]) for (const line of linesIn(columns)) expect(line.length).toBeLessThanOrEqual(columns)
  expect(linesIn(60)[2]).toMatch(/^ {2}training capacity +3\.6100 +1\.8050 +4\.0 % +2\.1 %$/)
  expect(linesIn(40).slice(1, 4)).toEqual([
    '  training capacity   loss 3.6100',
    '    bits per byte 1.8050   dropped 4.0 %',
    '    unserved 2.1 %',
  ])
})
