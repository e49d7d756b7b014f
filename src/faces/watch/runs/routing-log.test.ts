import fc from 'fast-check'
import { expect, test } from 'vitest'
import { leadingStep, RoutingLog } from './routing-log.ts'

interface Written {
  readonly step: number
  readonly layer?: number
  readonly module?: string
  readonly before?: readonly number[]
  readonly kept?: readonly number[]
}

/** A record as Choir writes it. */
const record = ({ step, layer = 0, module = 'ffn', before = [step, 1], kept = before }: Written) => ({
  step,
  layer,
  module,
  capacity: null,
  tokens_per_expert: before,
  kept_per_expert: kept,
  load_cv: step / 10,
  load_cv_kept: 0,
  drop_rate: 0.25,
  unserved_rate: 0,
  // Steps up to 5 lack the field, as if an older version had written them.
  ...(step > 5 && { gate_mean: 0.375 }),
  gate_entropy: null,
  dead_experts: 0,
  max_over_mean: 2,
})

/** Adds lines as if from one file of `size` bytes. */
function write(log: RoutingLog, written: readonly (Written | string)[], size?: number): RoutingLog {
  const lines = written.map((each) => Buffer.from(typeof each === 'string' ? each : JSON.stringify(record(each))))
  const total = size ?? lines.reduce((sum, { length }) => sum + length + 1, 0)
  let start = 0
  for (const line of lines) {
    log.add(line, start, total)
    start += line.length + 1
  }
  return log
}

const steps = (count: number): Written[] => Array.from({ length: count }, (_, index) => ({ step: index + 1 }))
const stepsOf = (log: RoutingLog) => log.snapshots.index('id')?.steps ?? []

test('loads are laid out by snapshot, router, before and after drops, expert; routers are sorted by layer', () => {
  const log = new RoutingLog({ routers: 3, prototypes: 1 })
  write(log, [
    { step: 5, layer: 3, before: [1, 2] },
    { step: 5, layer: 0, module: 'qkv', before: [3, 4], kept: [3, 3] },
    { step: 5, layer: 0, module: 'ffn', before: [5, 6, 7] },
    { step: 10, layer: 3, before: [8, 9] },
    { step: 10, layer: 0, module: 'qkv', before: [10, 11] },
    { step: 10, layer: 0, module: 'ffn', before: [12, 13, 14], kept: [12, 13, 0] },
  ])
  expect(log.snapshots.index('id')).toEqual({
    run: 'id',
    routers: [
      { layer: 0, module: 'qkv', experts: 2, prototypes: 1 },
      { layer: 0, module: 'ffn', experts: 3, prototypes: 1 },
      { layer: 3, module: 'ffn', experts: 2, prototypes: 1 },
    ],
    experts: 3,
    steps: [5, 10],
    of: 2,
    generation: expect.any(Number),
  })
  // Padded with zeros to three experts.
  expect([...log.snapshots.loads(0, 1)]).toEqual([3, 4, 0, 3, 3, 0, 5, 6, 7, 5, 6, 7, 1, 2, 0, 1, 2, 0])
  expect([...log.snapshots.history(1)]).toEqual([5, 6, 7, 5, 6, 7, 12, 13, 14, 12, 13, 0])
  expect(log.snapshots.loads(0, 2).length).toBe(2 * 3 * 2 * 3)
  expect([...log.snapshots.loads(1, 2)]).toEqual([...log.snapshots.loads(0, 2)].slice(18))
})

test('measures come from the file, and are null where it has no value', () => {
  const log = write(new RoutingLog({ routers: 1, prototypes: 1 }), [{ step: 5 }, { step: 10 }])
  expect(log.snapshots.summary(0)).toEqual({
    load_cv: [0.5, 1],
    load_cv_kept: [0, 0],
    drop_rate: [0.25, 0.25],
    gate_mean: [null, 0.375],
    gate_entropy: [null, null],
    dead_experts: [0, 0],
    max_over_mean: [2, 2],
  })
})

test('a snapshot is complete once all its routers arrived, another step begins, or it is settled', () => {
  const known = new RoutingLog({ routers: 2, prototypes: 2 })
  write(known, [{ step: 1, layer: 0 }])
  expect(known.snapshots.index('id')).toBeUndefined()
  write(known, [{ step: 1, layer: 1 }])
  expect(known.snapshots.index('id')).toMatchObject({ steps: [1], routers: [{ prototypes: 2 }, { layer: 1 }] })

  const unknown = write(new RoutingLog(), [
    { step: 1, layer: 0 },
    { step: 1, layer: 1 },
  ])
  expect(unknown.snapshots.index('id')).toBeUndefined()
  write(unknown, [{ step: 2, layer: 0 }])
  expect(stepsOf(unknown)).toEqual([1])
  write(unknown, [{ step: 2, layer: 1 }])
  expect(stepsOf(unknown)).toEqual([1, 2])
  write(unknown, [{ step: 3, layer: 0 }])
  expect(unknown.snapshots.settle()).toBe(true)
  expect(stepsOf(unknown)).toEqual([1, 2, 3])
  expect(unknown.snapshots.settle()).toBe(false)
  // Another router arrived after all, so the generation changes.
  const { generation } = unknown.snapshots
  write(unknown, [{ step: 3, layer: 1 }])
  expect(stepsOf(unknown)).toEqual([1, 2, 3])
  expect(unknown.snapshots.generation).toBeGreaterThan(generation)
})

test('at most 2048 snapshots are kept, evenly spaced from the first', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9000 }), fc.double({ min: 0.05, max: 20, noNaN: true }), (count, guess) => {
      const written = steps(count)
      const bytes = written.reduce((sum, each) => sum + JSON.stringify(record(each)).length + 1, 0)
      // The spacing is estimated from the file size, which is wrong by `guess`: files grow, and lines differ.
      const log = write(new RoutingLog({ routers: 1, prototypes: 1 }), written, bytes * guess)
      const kept = stepsOf(log)
      const stride = (kept[1] ?? 2) - 1
      expect(kept).toEqual(Array.from({ length: kept.length }, (_, index) => 1 + index * stride))
      expect(kept.length).toBe(Math.ceil(count / stride))
      expect(kept.length).toBeLessThanOrEqual(2048)
      // At least half of the limit is kept, unless the size was overestimated.
      if (count > 2048 && guess <= 1) expect(kept.length).toBeGreaterThanOrEqual(1024)
      expect(log.snapshots.index('id')?.of).toBe(count)
      expect([...log.snapshots.history(0)].filter((_, index) => index % 4 === 0)).toEqual(kept)
    }),
    { numRuns: 15 },
  )
})

test('the generation changes when indices change, but not when snapshots are appended', () => {
  const log = new RoutingLog({ routers: 1, prototypes: 1 })
  const { generation } = log.snapshots
  write(log, steps(2048), 0)
  expect(log.snapshots.index('id')).toMatchObject({ generation, of: 2048 })
  write(log, [{ step: 2049 }])
  expect(log.snapshots.index('id')?.generation).toBeGreaterThan(generation)
  expect(stepsOf(log).slice(0, 3)).toEqual([1, 3, 5])
})

test('loads stay within the memory limit', () => {
  const log = new RoutingLog({ routers: 1, prototypes: 1 })
  log.snapshots.limit(100_000)
  const before = Array.from({ length: 1000 }, (_, expert) => expert)
  write(
    log,
    steps(100).map((each) => ({ ...each, before })),
  )
  const { length } = stepsOf(log)
  expect(length * 2 * 1000 * 4).toBeLessThanOrEqual(100_000)
  expect(length).toBeGreaterThan(5)
  log.snapshots.limit(10_000)
  expect(stepsOf(log)).toEqual([1])
})

test('a resumed run replaces the steps that it repeats', () => {
  const log = write(new RoutingLog({ routers: 1, prototypes: 1 }), steps(5))
  const { generation } = log.snapshots
  write(log, [
    { step: 3, before: [30, 0] },
    { step: 4, before: [40, 0] },
  ])
  expect(log.snapshots.index('id')).toMatchObject({ steps: [1, 2, 3, 4], of: 4 })
  expect([...log.snapshots.history(0)].filter((_, index) => index % 4 === 0)).toEqual([1, 2, 30, 40])
  expect(log.snapshots.generation).toBeGreaterThan(generation)
})

test('replaced steps leave no trace, however often a file goes back and however little memory there is', () => {
  const routers = [0, 1, 2].map((layer) => ({ step: 0, layer, before: new Array(layer + 1).fill(1) }))
  const line = fc.record({ step: fc.integer({ min: 1, max: 30 }), layer: fc.nat(2), load: fc.nat(99) })
  fc.assert(
    fc.property(fc.array(line, { maxLength: 100 }), fc.integer({ min: 200, max: 2000 }), (lines, memory) => {
      const later = lines.map(({ step, layer, load }) => ({ step, layer, before: new Array(layer + 1).fill(load) }))
      let remaining: Written[] = []
      for (const each of later) {
        const isBack = remaining.some(({ step }) => step > each.step)
        remaining = [...(isBack ? remaining.filter(({ step }) => step < each.step) : remaining), each]
      }
      const [back, forward] = [later, remaining].map((written) => write(new RoutingLog(), [...routers, ...written]))
      const contents = (log: RoutingLog | undefined) => [stepsOf(log as RoutingLog), log?.snapshots.loads(0, 100)]
      expect(contents(back)).toEqual(contents(forward))
      for (const log of [back, forward]) log?.snapshots.limit(memory)
      expect(contents(back)).toEqual(contents(forward))
    }),
  )
})

test('a replaced file starts over with another generation', () => {
  const log = write(new RoutingLog(), steps(3))
  const { generation } = log.snapshots
  log.clear()
  expect(log.snapshots.index('id')).toBeUndefined()
  write(log, [{ step: 7, layer: 1 }, { step: 8 }])
  expect(stepsOf(log)).toEqual([7])
  expect(log.snapshots.generation).toBeGreaterThan(generation)
})

test('invalid lines are counted and break nothing', () => {
  const log = new RoutingLog({ routers: 1, prototypes: 1 })
  write(log, [
    { step: 1 },
    '{"step":2,"layer":0,"module":"ffn","tokens_per_exp',
    'not JSON',
    '[]',
    '{"step":3,"layer":"<b>","module":1,"tokens_per_expert":[1],"kept_per_expert":[1]}',
    '{"step":4,"layer":0,"module":"ffn","tokens_per_expert":[1,"x"],"kept_per_expert":[null,1]}',
    { step: 5 },
  ])
  expect(log.skipped).toBe(4)
  expect(log.problem).toBe('routing.jsonl: lines that are not records of a router are left out: 4')
  expect([...log.snapshots.history(0)].slice(-8)).toEqual([1, 0, 0, 1, 5, 1, 5, 1])
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), (values) => {
      const any = write(
        new RoutingLog(),
        values.map((value) => `{"step":1,"layer":0,"module":"ffn","tokens_per_expert":${JSON.stringify(value)}}`),
      )
      any.snapshots.settle()
      any.snapshots.loads(0, 5)
    }),
  )
})

test('the step of a line is read from its first bytes, or not at all', () => {
  const stepOf = (line: string) => leadingStep(Buffer.from(line))
  expect(stepOf('{"step":120,"layer":3')).toBe(120)
  expect(stepOf('{"step": 7, "stage"')).toBe(7)
  for (const other of ['', '{"step"', '{"step":', '{"step":1', '{"step":1.5,', '{"step":-1,', '{"layer":1,"step":2,'])
    expect(stepOf(other)).toBeUndefined()
  // Larger than a number can hold exactly.
  expect(stepOf(`{"step":${'9'.repeat(30)},`)).toBeUndefined()
})
