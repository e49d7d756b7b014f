import fc from 'fast-check'
import { expect, test } from 'vitest'
import { lowerBound, MetricColumns } from './metric-columns.ts'

const columnsOf = (...records: unknown[]): MetricColumns => {
  const columns = new MetricColumns()
  for (const record of records) columns.add(Buffer.from(typeof record === 'string' ? record : JSON.stringify(record)))
  return columns
}
const train = (step: number, fields: object = {}) => ({ kind: 'train', step, tokens: 100 * step, ...fields })
const values = (columns: MetricColumns, kind: string, name: string) => [...(columns.table(kind)?.column(name) ?? [])]

test('every kind is a table of its own, and what a line does not tell is NaN', () => {
  const columns = columnsOf(
    train(1, { loss: 5, grad_norm: null }),
    train(2, { loss: 4, grad_norm: 1 }),
    { kind: 'eval', step: 2, loss: 4.5 },
    train(3, { grad_norm: 2, note: 'text' }),
  )
  expect(values(columns, 'train', 'step')).toEqual([1, 2, 3])
  expect(values(columns, 'train', 'loss')).toEqual([5, 4, Number.NaN])
  expect(values(columns, 'train', 'grad_norm')).toEqual([Number.NaN, 1, 2])
  expect(values(columns, 'eval', 'loss')).toEqual([4.5])
  expect(columns.names()).toEqual(['train/loss', 'train/grad_norm', 'eval/loss'])
  expect(columns.table('train')?.last('loss')).toBe(4)
  expect(columns.table('train')?.last('unknown')).toBeNull()
})

test('columns keep thousands of rows', () => {
  const columns = columnsOf(...Array.from({ length: 5000 }, (_, index) => train(index + 1, { loss: index / 2 })))
  expect(values(columns, 'train', 'loss')).toEqual(Array.from({ length: 5000 }, (_, index) => index / 2))
  expect([columns.lines, columns.skipped]).toEqual([5000, 0])
})

test('lines that are no record are left out and counted, and the first of them is told', () => {
  const columns = columnsOf(train(1, { loss: 1 }), '{"kind":"tra', '[1]', 'null', { kind: 'other', step: 2 }, train(2))
  expect(values(columns, 'train', 'step')).toEqual([1, 2])
  expect([columns.lines, columns.skipped]).toEqual([6, 4])
  expect(columns.problem).toBe('metrics.jsonl: line 2 is not JSON; lines left out: 4')
  expect(columnsOf(train(1)).problem).toBeUndefined()
})

test('a run that was resumed takes back what it does again, evaluations too', () => {
  const evaluation = (step: number, loss: number) => ({ kind: 'eval', step, loss })
  const columns = columnsOf(
    ...[1, 2, 3, 4].map((step) => train(step, { loss: step })),
    evaluation(2, 20),
    evaluation(4, 40),
    train(3, { loss: 33 }),
    train(4, { loss: 44 }),
    evaluation(4, 41),
  )
  expect(values(columns, 'train', 'step')).toEqual([1, 2, 3, 4])
  expect(values(columns, 'train', 'loss')).toEqual([1, 2, 33, 44])
  expect(values(columns, 'eval', 'step')).toEqual([2, 4])
  expect(values(columns, 'eval', 'loss')).toEqual([20, 41])
})

test('a file of invented names fills no memory, and no name is special', () => {
  const many = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`name${index}`, index]))
  expect(columnsOf(train(1, many)).names().length).toBeLessThan(300)
  const strange = columnsOf('{"kind":"train","step":1,"__proto__":3,"<img src=x>":4,"constructor":5}')
  expect(strange.names()).toEqual(['train/__proto__', 'train/<img src=x>', 'train/constructor'])
  expect(values(strange, 'train', '__proto__')).toEqual([3])
})

test('no line breaks the reader', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.jsonValue(),
          fc.record({
            kind: fc.constantFrom('train', 'eval'),
            step: fc.integer({ min: 0, max: 9 }),
            loss: fc.jsonValue(),
          }),
        ),
        { maxLength: 30 },
      ),
      (records) => {
        const columns = columnsOf(...records.map((record) => JSON.stringify(record)))
        const table = columns.table('train')
        const steps = values(columns, 'train', 'step')
        expect(steps).toEqual([...new Set(steps)].sort((a, b) => a - b))
        for (const name of table?.names ?? []) expect(table?.column(name)?.length).toBe(table?.length)
      },
    ),
  )
})

test('the lower bound is the number of smaller values', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 20 })), fc.integer({ min: -1, max: 21 }), (list, value) => {
      const ascending = list.sort((a, b) => a - b)
      expect(lowerBound(ascending, value)).toBe(ascending.filter((each) => each < value).length)
    }),
  )
})
