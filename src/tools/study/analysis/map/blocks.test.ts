/** The map of a study with a known law: figures, break-even, the law, and the map while runs are missing. */
import { describe, expect, test } from 'vitest'
import { differenceAt, type Point } from '../../../law/joint-law.ts'
import { lawText, parseLaw } from '../../../law/law-file.ts'
import { knownLaw } from '../../../law/testing/simulated.ts'
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
    expect(section?.verdicts.join(' ')).toMatch(/2 of 2 numbers of experts pay within .* by the mean over seeds; /)
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

type MapCell = StudyResults['cells'][number]

/** The map of the smaller size alone, with cells in place of each of its cells. */
function smallMap(change: (cell: MapCell) => readonly MapCell[]): StudyResults {
  const results = mapStudy()
  const questions = results.questions.map((question) => ({
    ...question,
    contrasts: question.contrasts.filter(({ arm }) => arm.endsWith('0')),
  }))
  return { ...results, questions, cells: results.cells.flatMap(change) }
}

describe('a sentence names the numbers of experts by their intervals, and those that are ahead by the mean', () => {
  /** Mean difference to dense, and how far the first two of three seeds are from it, one above and one below. */
  type Difference = readonly [mean: number, spread: number]
  const sentenceOf = (differences: Readonly<Record<string, readonly Difference[]>>): string | undefined =>
    sectionOf(
      smallMap((cell) => {
        const { arm, seed, share = 1, record } = cell
        if (record?.status !== 'finished') return [cell]
        const [mean, spread] = differences[arm]?.[[1 / 16, 1 / 4, 1].indexOf(share)] ?? [0, 0]
        const under = { ...record.heldOut.capacities.none, loss: 3 + mean + spread * ([1, -1, 0][seed - 1] ?? 0) }
        const heldOut = { ...record.heldOut, ...under, capacities: { train: under, eval: under, none: under } }
        return [{ ...cell, record: { ...record, heldOut } }]
      }),
    )?.verdicts[0]
  // Half of Student's interval of three seeds is 4.303 / √3 = 2.48 spreads. The head and the layers have
  // 64 · 1024 + 2 · 12 · 64² + 5 · 64 = 164,160 parameters, and the trainings 4, 16 and 64 tokens for each.
  // Of an open difference the mean is below zero, and the interval is not.
  const open: Difference = [-0.01, 0.05]
  const ahead: Difference = [-0.1, 0.01]
  const behind: Difference = [0.01, 0.05]
  const pay = 'pay within 10.5 M tokens by the mean over seeds'

  test.each([
    {
      two: [open, open, ahead],
      eight: [behind, ahead, ahead],
      found: `2 of 2 numbers of experts ${pay}; with 2 of them the intervals are below zero to the end, first with 8 experts from 2.63 M tokens on (16.0 for each parameter).`,
    },
    {
      two: [open, ahead, ahead],
      eight: [behind, ahead, ahead],
      found: `2 of 2 numbers of experts ${pay}; with 2 and 8 experts the intervals are below zero from 2.63 M tokens on (16.0 for each parameter).`,
    },
    {
      two: [ahead, ahead, open],
      eight: [ahead, ahead, open],
      found: `2 of 2 numbers of experts ${pay}; none of them has an interval below zero after the longest training.`,
    },
    {
      two: [ahead, ahead, behind],
      eight: [open, open, open],
      found: `1 of 2 numbers of experts ${pay.replace('pay', 'pays')}; it has no interval below zero after the longest training.`,
    },
    {
      two: [behind, behind, behind],
      eight: [ahead, ahead, behind],
      found: 'no number of experts pays within 10.5 M tokens (64.0 for each parameter) by the mean over seeds.',
    },
  ])('$found', ({ two, eight, found }) => {
    expect(sentenceOf({ '2 experts 0': two, '8 experts 0': eight })).toBe(`With 164k active parameters, ${found}`)
  })
})

describe('intervals while runs of an arm are missing', () => {
  const isEight = ({ arm, share }: MapCell) => arm === '8 experts 0' && share === 1
  const blocksOf = (change: (cell: MapCell) => readonly MapCell[]) => {
    const blocks = sectionOf(smallMap(change))?.blocks ?? []
    const table = tableWith(blocks, 'Clear from')
    const cellOf = (experts: number, title: string) =>
      table?.rows.find((row) => row[1] === String(experts))?.[table.columns.findIndex((one) => one.title === title)]
    const noteOf = (experts: number) => {
      const cell = cellOf(experts, 'Difference')
      return typeof cell === 'object' && 'note' in cell ? (cell.note ?? '') : ''
    }
    return { blocks, table, cellOf, noteOf, figure: figuresOf(blocks)[0] }
  }
  const complete = blocksOf((cell) => [cell])
  const waiting = blocksOf((cell) =>
    isEight(cell) && cell.seed === 3 ? [cell, { ...cell, seed: 4, record: null }] : [cell],
  )
  const early = blocksOf((cell) => (isEight(cell) && cell.seed === 3 ? [{ ...cell, record: null }] : [cell]))
  const widthsOf = ({ figure }: typeof complete, experts: number) => {
    const series = figure?.series.find(({ name }) => name === `${experts} experts`)
    return series?.high?.map((high, i) => (high ?? Number.NaN) - (series.low?.[i] ?? Number.NaN)) ?? []
  }

  test('hold at every look at the length whose runs are missing, and the captions explain them', () => {
    // With three seeds, the quantile is 13.2 instead of Student's 4.303.
    const ratios = widthsOf(waiting, 8).map((width, i) => width / (widthsOf(complete, 8)[i] ?? 0))
    expect(ratios).toEqual([1, 1, 13.2 / 4.303].map((ratio) => expect.closeTo(ratio, 1)))
    expect(widthsOf(waiting, 2)).toEqual(widthsOf(complete, 2))
    expect(waiting.noteOf(8)).toMatch(/^anytime /)
    expect(waiting.noteOf(2)).toMatch(/^−?0\.\d+ to /)
    for (const { caption = '' } of [waiting.table, waiting.figure].flatMap((one) => one ?? []))
      expect(caption).toContain('Anytime: this 95 % interval holds however often one looks')
    expect(JSON.stringify([complete.table, complete.figure])).not.toMatch(/anytime/i)
  })

  test('are those of the table over training tokens', () => {
    const intervalsIn = (table: Table | undefined) =>
      (table?.rows ?? []).map((row) => {
        const cell = row[table?.columns.findIndex(({ title }) => title === 'Difference') ?? 0]
        return typeof cell === 'object' && 'exact' in cell ? cell.exact?.interval : undefined
      })
    const lengths = tableWith(waiting.blocks, 'Per active parameter')
    expect(lengths?.rows).toHaveLength(6)
    const longest = intervalsIn(lengths).filter((_, i) => i % 3 === 2)
    expect(longest).toEqual([0, 0].map(() => [expect.any(Number), expect.any(Number)]))
    expect(intervalsIn(waiting.table)).toEqual(longest)
  })

  test('of two seeds there are none, so nothing is clear', () => {
    expect(early.noteOf(8)).toBe('only 2 seeds')
    expect(JSON.stringify([early.table, early.figure])).not.toMatch(/anytime/i)
    expect(early.cellOf(8, 'Clear from')).toBe('not reached')
    expect(complete.cellOf(8, 'Clear from')).not.toBe('not reached')
    const eight = early.figure?.series.find(({ name }) => name === '8 experts')
    expect(eight?.low?.map((low) => low === null)).toEqual([false, false, true])
  })
})
