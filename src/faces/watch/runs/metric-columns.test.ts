import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MetricColumns, type MetricTable } from './metric-columns.ts'

const columnsOf = (...records: unknown[]): MetricColumns => {
  const columns = new MetricColumns()
  for (const record of records) columns.add(Buffer.from(typeof record === 'string' ? record : JSON.stringify(record)))
  return columns
}
const train = (step: number, fields: object = {}) => ({ kind: 'train', step, tokens: 100 * step, ...fields })
const values = (columns: MetricColumns, kind: string, name: string) => [...(columns.table(kind)?.column(name) ?? [])]

test('every kind has its own table, and missing fields are NaN', () => {
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

test('an evaluation has columns for the capacity rules besides its own; earlier lines lack them', () => {
  const capacities = { train: { loss: 6, drop_rate: 0.25 }, eval: { loss: 5 }, none: { loss: 4, drop_rate: 0 } }
  const columns = columnsOf(
    { kind: 'eval', step: 1, loss: 7 },
    { kind: 'eval', step: 2, loss: 5, capacity: 'eval', capacities },
    train(3, { capacities }),
  )
  expect(columns.names()).toEqual([
    'eval/loss',
    'eval/train_capacity/loss',
    'eval/train_capacity/drop_rate',
    'eval/dropless/loss',
  ])
  expect(values(columns, 'eval', 'dropless/loss')).toEqual([Number.NaN, 4])
  expect(values(columns, 'eval', 'train_capacity/drop_rate')).toEqual([Number.NaN, 0.25])
})

test('columns hold thousands of rows', () => {
  const columns = columnsOf(...Array.from({ length: 5000 }, (_, index) => train(index + 1, { loss: index / 2 })))
  expect(values(columns, 'train', 'loss')).toEqual(Array.from({ length: 5000 }, (_, index) => index / 2))
  expect([columns.lines, columns.skipped]).toEqual([5000, 0])
})

test('invalid lines are left out and counted, and the first is reported', () => {
  const columns = columnsOf(train(1, { loss: 1 }), '{"kind":"tra', '[1]', 'null', { kind: 'other', step: 2 }, train(2))
  expect(values(columns, 'train', 'step')).toEqual([1, 2])
  expect([columns.lines, columns.skipped]).toEqual([6, 4])
  expect(columns.problem).toBe('metrics.jsonl: line 2 is not JSON; lines left out: 4')
  expect(columnsOf(train(1)).problem).toBeUndefined()
})

test('faults of routers hold until the training takes them back, or is resumed before them', () => {
  const [first, second] = [train(100, { router_faults: ['a', 'b'] }), train(200, { router_faults: ['b'] })]
  expect(columnsOf(train(1)).routerFaults).toEqual([])
  expect(columnsOf(first, train(101)).routerFaults).toEqual(['a', 'b'])
  expect(columnsOf(first, second, train(250)).routerFaults).toEqual(['b'])
  expect(columnsOf(first, second, train(300, { router_faults: [] })).routerFaults).toEqual([])
  expect(columnsOf(first, second, train(150)).routerFaults).toEqual([])
  // A file may hold anything.
  const many = Array.from({ length: 1000 }, () => 'x'.repeat(1000))
  const { routerFaults } = columnsOf(train(1, { router_faults: [7, ...many] }))
  expect([routerFaults.length, routerFaults[0]?.length]).toEqual([64, 400])
  expect(columnsOf(train(1, { router_faults: 'text' })).routerFaults).toEqual([])
})

test('NaN and Infinity, as Python writes them, are gaps and not invalid lines', () => {
  const columns = columnsOf(
    '{"kind": "train", "step": 1, "loss": NaN, "grad_norm": 2, "note": "NaN, or Infinity"}',
    '{"kind":"train","step":2,"loss":-Infinity,"grad_norm":Infinity,"parts":[NaN,1]}',
    '{"kind":"train","step":3,"loss":NaNa}',
    '{"kind":"train","step":4,"loss":1}',
  )
  expect(values(columns, 'train', 'loss')).toEqual([Number.NaN, Number.NaN, 1])
  expect(values(columns, 'train', 'grad_norm')).toEqual([2, Number.NaN, Number.NaN])
  expect(columns.skipped).toBe(1)
})

test('a resumed run replaces the steps that it repeats, evaluations too', () => {
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

test('a table holds at most its limit of numbers; rows merge equally many lines, and no more than needed', () => {
  const number = fc.double({ noDefaultInfinity: true, noNaN: true })
  const line = fc.dictionary(fc.constantFrom('loss', 'lr', 'step_ms', 'a', 'b', 'c'), number)
  fc.assert(
    fc.property(fc.array(line, { minLength: 1, maxLength: 200 }), fc.integer({ min: 20, max: 400 }), (lines, limit) => {
      const columns = new MetricColumns(limit)
      for (const [index, fields] of lines.entries()) columns.add(Buffer.from(JSON.stringify(train(index + 1, fields))))
      const { stride, length, names } = columns.table('train') as MetricTable
      const width = names.length + 2
      expect(length).toBe(Math.ceil(lines.length / stride))
      expect(length === 1 || length * width <= limit).toBe(true)
      expect(stride === 1 || Math.ceil((2 * lines.length) / stride) * width > limit).toBe(true)
      const rows = Array.from({ length }, (_, row) => lines.slice(row * stride, (row + 1) * stride))
      expect(values(columns, 'train', 'step')).toEqual(rows.map((group, row) => row * stride + group.length))
      for (const name of names.filter((each) => each !== 'tokens'))
        expect(values(columns, 'train', name)).toEqual(
          // JSON turns −0 into 0.
          rows.map((group) => (group.findLast((fields) => name in fields)?.[name] ?? Number.NaN) + 0),
        )
      expect(columns.problem).toEqual(stride === 1 ? undefined : expect.stringContaining(`every ${stride} lines`))
    }),
  )
})

test('a resumed run drops whole rows and goes on from there', () => {
  const columns = new MetricColumns(4 * 8)
  const add = (step: number, loss: number) =>
    columns.add(Buffer.from(JSON.stringify(train(step, { loss, step_ms: 1000 }))))
  for (let step = 1; step <= 16; step++) add(step, step)
  // Five numbers per row: every four lines become one.
  expect(values(columns, 'train', 'step')).toEqual([4, 8, 12, 16])
  add(10, 100)
  expect(values(columns, 'train', 'step')).toEqual([4, 8, 10])
  expect(values(columns, 'train', 'loss')).toEqual([4, 8, 100])
  expect([...(columns.table('train')?.seconds ?? [])]).toEqual([4, 8, 9])
})

test('records of ranks give a table of their numbers, and lists by rank', () => {
  const columns = columnsOf(
    train(1, { loss: 3 }),
    '{"kind":"ranks","step":1,"wait_share":0.5,"compute_ms":[1,2]}',
    train(2, { loss: 2 }),
    '{"kind":"ranks","step":2,"wait_share":0.25,"compute_ms":[3,4]}',
  )
  expect(values(columns, 'ranks', 'wait_share')).toEqual([0.5, 0.25])
  expect(columns.names()).toContain('ranks/wait_share')
  expect(columns.ranks.ranks(1)).toMatchObject({ steps: [1, 2], compute: [3, 4] })
  expect(columns.problem).toBeUndefined()
  // A resumed run has not yet written the record of this step.
  columns.add(Buffer.from(JSON.stringify(train(2, { loss: 1 }))))
  expect(values(columns, 'ranks', 'step')).toEqual([1])
  expect(columns.ranks.ranks(1)).toMatchObject({ steps: [1], compute: [1, 2] })
  columns.clear()
  expect(columns.ranks.isEmpty).toBe(true)
})

test('a file of invented names does not fill the memory, and no name is special', () => {
  const many = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`name${index}`, index]))
  const narrowed = columnsOf(train(1, many))
  expect(narrowed.names().length).toBeLessThan(300)
  expect(narrowed.problem).toMatch(/fields beyond 256/)
  const strange = columnsOf('{"kind":"train","step":1,"__proto__":3,"<img src=x>":4,"constructor":5}')
  expect(strange.names()).toEqual(['train/__proto__', 'train/<img src=x>', 'train/constructor'])
  expect(values(strange, 'train', '__proto__')).toEqual([3])
})

test('the reader survives any line', () => {
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
      fc.integer({ min: 5, max: 200 }),
      (records, limit) => {
        const columns = new MetricColumns(limit)
        for (const record of records) columns.add(Buffer.from(JSON.stringify(record)))
        const table = columns.table('train')
        const steps = values(columns, 'train', 'step')
        expect(steps).toEqual([...new Set(steps)].sort((a, b) => a - b))
        for (const name of table?.names ?? []) expect(table?.column(name)?.length).toBe(table?.length)
      },
    ),
  )
})

test('a model without experts has no metrics of routing, so its dashboard has no cards of them', () => {
  const routing = { drop_rate: 0, load_cv: 0, dead_experts: 0, aux_loss: 0, gate_mean: null, gate_entropy: null }
  const at = { loss: 6, drop_rate: 0 }
  const dense = columnsOf(train(1, { loss: 5, ...routing }), {
    ...{ kind: 'eval', step: 1, loss: 6, ...routing },
    ...{ capacity: 'eval', capacities: { train: at, eval: at, none: at } },
  })
  expect(dense.names()).toEqual(['train/loss', 'eval/loss', 'eval/train_capacity/loss', 'eval/dropless/loss'])
  expect(columnsOf(train(1, { loss: 5, ...routing, gate_mean: 0.5 })).names()).toContain('train/drop_rate')
})
