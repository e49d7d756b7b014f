import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RunError } from '../../core/errors.ts'
import { type TraceEvent, traceProblems } from './testing/trace-event-format.ts'
import { traceJson, writeTrace } from './trace.ts'

const event = (thread: number, op: string, begin: number, end: number, layer = '') => ({
  thread,
  name: `kind of ${op}`,
  op,
  layer,
  begin: 1.7e12 + begin,
  end: 1.7e12 + end,
})

const eventsOf = (json: string): TraceEvent[] => JSON.parse(json).traceEvents

test('a trace has a named row per thread, and times in microseconds from its start', () => {
  const json = traceJson('choir train demo', [
    event(0, 'matmul', 1, 3.5, 'layers.0.attention'),
    event(-1, 'gradient', 0.5, 4),
  ])
  expect(traceProblems(JSON.parse(json))).toEqual([])
  const events = eventsOf(json)
  const names = events.filter(({ name }) => name === 'thread_name').map(({ tid, args }) => [tid, args?.name])
  expect(events).toContainEqual({ ph: 'M', name: 'process_name', pid: 1, tid: 0, args: { name: 'choir train demo' } })
  expect(names).toEqual([
    [1, 'JavaScript'],
    [2, 'thread 1'],
  ])
  const args = { layer: 'layers.0.attention', kind: 'kind of matmul' }
  expect(events).toContainEqual({
    ...{ ph: 'X', name: 'matmul', cat: 'kind of matmul', pid: 1, tid: 2, args },
    ts: expect.closeTo(500, 0),
    dur: expect.closeTo(2500, 0),
  })
})

test('any events give a valid trace', () => {
  const time = fc.double({ min: 0, max: 1e4, noNaN: true })
  // Consecutive events of a thread, and an outer one around all of them.
  const row = fc.record({ thread: fc.integer({ min: -1, max: 9 }), lengths: fc.array(time, { maxLength: 8 }) })
  const rows = fc.uniqueArray(row, { selector: ({ thread }) => thread, maxLength: 4 })
  fc.assert(
    fc.property(rows, (threads) => {
      const events = threads.flatMap(({ thread, lengths }) => {
        let now = 0
        const inner = lengths.map((length, i) => {
          const begin = now
          now += length
          return event(thread, `op"${i}\n`, begin, now)
        })
        return [...inner.reverse(), event(thread, 'outer', 0, now)]
      })
      expect(traceProblems(JSON.parse(traceJson('a "title"', events)))).toEqual([])
    }),
  )
})

test('the file is created with its folders; if that fails, a RunError names it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'choir-trace-'))
  try {
    const file = join(folder, 'a', 'b', 'step.json')
    await writeTrace(file, 'title', [event(0, 'x', 0, 1)])
    expect(eventsOf(readFileSync(file, 'utf8'))).toHaveLength(4)
    writeFileSync(join(folder, 'file'), '')
    const impossible = writeTrace(join(folder, 'file', 'step.json'), 'title', [])
    await expect(impossible).rejects.toThrow(RunError)
    await expect(impossible).rejects.toThrow(/cannot write .*step\.json/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
