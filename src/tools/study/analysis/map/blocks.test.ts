/** The map of a study with a known law: figures, break-even, the law, and the map while runs are missing. */
import { describe, expect, test } from 'vitest'
import { differenceAt, type Point } from '../../../law/joint-law.ts'
import { lawText, parseLaw } from '../../../law/law-file.ts'
import { knownLaw } from '../../../law/simulated.ts'
import type { Block, LineFigure, Table } from '../../../report/blocks.ts'
import type { StudyResults } from '../../contract.ts'
import { mapStudy } from '../../testing/map.ts'
import { analyse } from '../analyse.ts'
import { lawFileOf } from './study-law.ts'

const sectionOf = (results: StudyResults) => analyse(results).sections.find(({ id }) => id === 'map')
const figuresOf = (blocks: readonly Block[]) =>
  blocks.filter((block): block is LineFigure => block.kind === 'figure' && block.id.includes('-map-'))
const tableWith = (blocks: readonly Block[], title: string) =>
  blocks.find(
    (block): block is Table => block.kind === 'table' && block.columns.some((column) => column.title === title),
  )

describe('the map of a finished study', () => {
  const results = mapStudy()
  const section = sectionOf(results)
  const blocks = section?.blocks ?? []

  test('has a figure for each size with the gain of each number of experts over tokens per active parameter', () => {
    const figures = figuresOf(blocks)
    expect(figures).toHaveLength(2)
    const [figure] = figures
    expect(figure?.x.scale).toBe('log')
    expect(figure?.series.map(({ name }) => name)).toEqual(['dense', '2 experts', '8 experts'])
    const eight = figure?.series[2]
    eight?.x.forEach((ratio, i) => {
      expect(ratio).toBeCloseTo([4, 16, 64][i] ?? 0, 1)
      const active = lawFileOf(results)?.sizes[0]?.active ?? 0
      // Three pairs with noise of 0.002 in each run.
      const gain = -differenceAt(knownLaw, { active, tokens: ratio * active, experts: 8 })
      expect(Math.abs((eight.y[i] ?? 9) - gain)).toBeLessThan(0.006)
      expect(eight.low?.[i]).toBeLessThan(eight.y[i] ?? 0)
      expect(eight.high?.[i]).toBeGreaterThan(eight.y[i] ?? 0)
    })
    const [dot] = eight?.dots ?? []
    expect(dot?.y).toBe(0)
    expect(dot?.x).toBeGreaterThan(16)
    expect(dot?.x).toBeLessThan(64)
  })

  test('has break-even by measurement and by the law, which agree, in a table and in a sentence', () => {
    const table = tableWith(blocks, 'By the law')
    expect(table?.rows).toHaveLength(4)
    const at = (row: number, title: string) => {
      const cell = table?.rows[row]?.[table.columns.findIndex((column) => column.title === title)]
      return Number.parseFloat(typeof cell === 'object' && 'text' in cell ? cell.text : '')
    }
    for (const row of [0, 1, 2, 3]) expect(at(row, 'By the law') / at(row, 'Measured')).toBeCloseTo(1, 0)
    expect(section?.verdicts.join(' ')).toMatch(/2 of 2 numbers of experts pay within .* tokens on \(\d/)
    expect(section?.verdicts.join(' ')).not.toContain('no law yet')
    const forms = tableWith(blocks, 'Coefficients')
    expect(forms?.rows).toHaveLength(14)
    expect(forms?.rows[0]?.[0]).toMatch(/^used: /)
  })

  test('gives a law.json that is read back as it was, with the settings that the runs have in common', () => {
    const law = lawFileOf(results)
    if (!law) throw new Error('no law')
    const read = parseLaw(lawText(law))
    expect(read).toEqual({ format: 4, ...law })
    expect(read).toMatchObject({ runs: 54, experts: [2, 8], vocabulary: 1024, corpus: 'text-and-tokens' })
    expect(read.recipe).toMatchObject({ 'model.moe.capacity': 'none', 'model.activation': 'gelu' })
    expect(Object.keys(read.recipe)).not.toContain('model.width')
    expect(Object.keys(read.recipe)).not.toContain('model.moe.experts')
    const unseen: Point = { active: 3e5, tokens: 6e6, experts: 8 }
    expect(differenceAt(read.coefficients, unseen)).toBeCloseTo(differenceAt(knownLaw, unseen), 2)
    expect(() => parseLaw('{"format": 4}')).toThrow(/not a law of this version: study/)
    expect(() => parseLaw('{"format": 3}')).toThrow(/not a law of this version: format/)
  })
})

describe('the map of a study that is not finished', () => {
  test('shows the size that has runs, and states what a law needs', () => {
    const section = sectionOf(mapStudy(({ arm, share }) => arm.endsWith('0') && share < 1))
    expect(figuresOf(section?.blocks ?? []).map(({ series }) => series[1]?.x.length)).toEqual([2])
    expect(section?.verdicts.join(' ')).toContain(
      'There is no law yet: it needs at least 2 sizes (there is 1), 3 lengths',
    )
    expect(tableWith(section?.blocks ?? [], 'By the law')).toBeUndefined()
  })

  test('has no figure before a dense run and a run with experts form a pair', () => {
    const section = sectionOf(mapStudy(({ arm }) => arm.includes('experts')))
    expect(figuresOf(section?.blocks ?? [])).toEqual([])
    expect(section?.verdicts.join(' ')).toContain('No run with experts has a dense run')
    expect(sectionOf(mapStudy(() => false))?.verdicts.join(' ')).toContain('No run with experts')
  })
})

test('a study with a map for each size shows their common law once, after the last map', () => {
  const results = mapStudy()
  const [question] = results.questions
  if (!question) throw new Error('no question')
  const questions = ['0', '1'].map((size) => ({
    ...question,
    id: `map-${size}`,
    contrasts: question.contrasts.filter(({ arm }) => arm.endsWith(size)),
  }))
  const sections = analyse({ ...results, questions }).sections.filter(({ id }) => id.startsWith('map-'))
  expect(sections.map(({ blocks }) => figuresOf(blocks).length)).toEqual([1, 1])
  expect(sections.map(({ blocks }) => tableWith(blocks, 'By the law')?.rows.length)).toEqual([2, 2])
  expect(sections.map(({ blocks }) => tableWith(blocks, 'Coefficients')?.rows.length)).toEqual([undefined, 14])
})
