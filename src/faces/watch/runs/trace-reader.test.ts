import { appendFile, mkdtemp, realpath, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { TraceReader } from './trace-reader.ts'
import { isRouterTrace } from './trace-record.ts'

let folder: string
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'choir-trace-')))
})
afterEach(() => rm(folder, { recursive: true }))

/** A line as Python's json writes it. */
const line = (step: number, layer: number, chosen: number[][], more: object = {}): string =>
  JSON.stringify({
    step,
    stage: 'pre_dispatch',
    block: 'decoder',
    layer,
    rank: 0,
    num_tokens: chosen.length,
    topk: chosen[0]?.length,
    top_indices: chosen,
    ...more,
  })
    .replaceAll(',', ', ')
    .replaceAll(':', ': ')

const textOf = (lines: readonly string[]) => lines.map((each) => `${each}\n`).join('')
const nameOf = (rank: number) => `rank${rank}.jsonl`
const readerOf = (ranks: number) =>
  new TraceReader(
    { id: 'id', path: 'trace', directory: folder, root: folder },
    Array.from({ length: ranks }, (_, rank) => nameOf(rank)),
  )

/** Writes the files of a trace that is no longer written, and reads them. */
async function traceOf(...files: (readonly string[])[]): Promise<TraceReader> {
  const long = new Date(Date.now() - 60_000)
  for (const [rank, lines] of files.entries()) {
    await writeFile(join(folder, nameOf(rank)), textOf(lines))
    await utimes(join(folder, nameOf(rank)), long, long)
  }
  const trace = readerOf(files.length)
  for (let polls = 0; polls < 2; polls++) await trace.poll()
  return trace
}

test('choices are counted by router, and ranks are summed', async () => {
  const trace = await traceOf(
    [line(0, 1, [[0, 2]]), line(0, 3, [[1, 1]]), line(1, 1, [[2, 0]]), line(1, 3, [[0, 1]])],
    [line(0, 1, [[2, 4]]), line(1, 1, [[3, -1]])],
  )
  expect(trace.routing()).toMatchObject({
    routers: [
      { layer: 1, module: 'decoder', experts: 5, prototypes: 1 },
      { layer: 3, module: 'decoder', experts: 2, prototypes: 1 },
    ],
    experts: 5,
    steps: [0, 1],
    of: 2,
  })
  const before = [
    [1, 0, 2, 0, 1],
    [0, 2, 0, 0, 0],
    [1, 0, 1, 1, 0],
    [1, 1, 0, 0, 0],
  ]
  // Drops are unknown, so loads after drops equal the loads before.
  expect([...trace.loads(0, 2)]).toEqual(before.flatMap((loads) => [...loads, ...loads]))
  expect(trace.summary().step).toBe(1)
  expect(trace.summary().problem).toBeUndefined()
})

test('a last step that grows when another rank arrives gets another generation', async () => {
  const write = (rank: number, ...steps: number[]) =>
    appendFile(join(folder, nameOf(rank)), textOf(steps.map((step) => line(step, 0, [[0]]))))
  await write(0, 0, 1)
  await write(1)
  const trace = readerOf(2)
  await trace.poll()
  const before = trace.routing()
  expect([before?.steps, [...trace.loads(1, 2)]]).toEqual([
    [0, 1],
    [1, 1],
  ])
  await write(1, 1)
  await trace.poll()
  expect([...trace.loads(1, 2)]).toEqual([2, 2])
  expect(trace.routing()?.generation).not.toBe(before?.generation)
})

test('measures that follow from choices are computed, the others are null', async () => {
  const trace = await traceOf([line(0, 0, [[0], [0], [0], [2]]), line(1, 0, [[0], [1], [2]])])
  const { load_cv, load_cv_kept, drop_rate, gate_mean, gate_entropy, dead_experts, max_over_mean } =
    trace.routingSummary(0)
  // Loads 3, 0, 1: mean 4/3, deviation √(14/9).
  expect(load_cv[0]).toBeCloseTo(Math.sqrt(14 / 9) / (4 / 3), 6)
  expect(load_cv[1]).toBe(0)
  expect(dead_experts).toEqual([1, 0])
  expect(max_over_mean[0]).toBeCloseTo(9 / 4, 6)
  for (const unknown of [load_cv_kept, drop_rate, gate_mean, gate_entropy]) expect(unknown).toEqual([null, null])
})

test('records of multi-token prediction are separate routers', async () => {
  const trace = await traceOf([line(0, 0, [[0]]), line(0, 0, [[1]], { block: 'mtp', mtp_idx: 2 })])
  expect(trace.routing()?.routers.map(({ module }) => module)).toEqual(['decoder', 'mtp-2'])
})

test('tokens of a step are read again from the position of its lines', async () => {
  const trace = await traceOf(
    [
      line(0, 0, [[9, 9]]),
      line(5, 0, [
        [0, 1],
        [2, 3],
      ]),
      line(5, 1, [
        [4, 5],
        [6, 7],
      ]),
      line(6, 0, [[9, 9]]),
    ],
    [line(0, 0, [[9, 9]]), line(5, 0, [[1, 0]]), line(5, 1, [[5, 4]])],
  )
  const recorded = await trace.recorded(1)
  expect(recorded).toMatchObject({ run: 'id', step: 5, loss: null, tokens: ['', '', ''], cut: false })
  expect(recorded.routers).toEqual([
    {
      layer: 0,
      module: 'decoder',
      experts: 10,
      prototypes: 1,
      choices: 2,
      expert: [0, 1, 2, 3, 1, 0],
      gate: null,
    },
    {
      layer: 1,
      module: 'decoder',
      experts: 8,
      prototypes: 1,
      choices: 2,
      expert: [4, 5, 6, 7, 5, 4],
      gate: null,
    },
  ])
  await expect(trace.recorded(3)).rejects.toThrow('internal: no snapshot 3 of 3')
})

test('a long step is truncated and marked as cut', async () => {
  const trace = await traceOf([
    line(
      0,
      0,
      Array.from({ length: 5000 }, (_, token) => [token % 4]),
    ),
  ])
  const { tokens, cut, routers } = await trace.recorded(0)
  expect([tokens.length, cut, routers[0]?.expert.length]).toEqual([4096, true, 4096])
})

test('one token with very many choices does not fill the memory', async () => {
  const many = Array.from({ length: 2000 }, () => 0)
  const trace = await traceOf([line(0, 0, [many, ...Array.from({ length: 4000 }, () => [1])])])
  const { tokens, cut, routers } = await trace.recorded(0)
  expect(cut).toBe(true)
  expect(tokens.length).toBe(2000)
  expect(routers[0]?.expert.length).toBe(2000 * 2000)
})

test('lines that are not records, go back a step or repeat a dispatch are left out', async () => {
  const trace = await traceOf([
    line(0, 0, [[0]]),
    line(0, 0, [[0]], { stage: 'post_dispatch' }),
    '{"step": 1, "layer": 0, "top_indi',
    '{"step": 1, "layer": 0, "top_indices": [["<b>"]]}',
    '{"step": 1, "layer": 0, "top_indices": [[1e9]]}',
    line(2, 0, [[1]]),
    line(1, 0, [[1]]),
  ])
  expect(trace.summary().problem).toBe(
    'lines that go back to an earlier step are left out: 1 (expected the lines of one run)',
  )
  expect([...trace.history(0)]).toEqual([1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1])
})

test('a trace is recognised by its first line', async () => {
  const is = async (name: string, contents: string) => {
    await writeFile(join(folder, name), contents)
    return isRouterTrace(folder, join(folder, name))
  }
  expect(await is('a.jsonl', `${line(0, 0, [[1]])}\n`)).toBe(true)
  // A first line longer than the part that is read.
  expect(
    await is(
      'b.jsonl',
      line(
        0,
        0,
        Array.from({ length: 50_000 }, () => [1]),
      ),
    ),
  ).toBe(true)
  expect(await is('c.json', `${line(0, 0, [[1]])}\n`)).toBe(false)
  expect(await is('d.jsonl', '{"text":"layer top_indices"}\n')).toBe(false)
  expect(await is('e.jsonl', '')).toBe(false)
  expect(await isRouterTrace(folder, join(folder, 'none.jsonl'))).toBe(false)
})
