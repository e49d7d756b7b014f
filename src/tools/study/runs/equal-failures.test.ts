import { expect, test } from 'vitest'
import type { RunRecord } from '../contract.ts'
import { EqualFailures } from './run-queue.ts'

const failed = (error: string) => ({ status: 'failed', error }) as RunRecord
const finished = { status: 'finished' } as RunRecord

/** How many runs a study makes before it stops; null if it goes on. */
function stopsAfter(records: readonly RunRecord[], failures = new EqualFailures()): number | null {
  for (const [i, record] of records.entries())
    try {
      failures.note(record)
    } catch {
      return i + 1
    }
  return null
}

test('a study stops after eight failures in a row that differ only in paths and numbers', () => {
  const full = (i: number) => failed(`no space left in /data/run-${i}: ${i} bytes`)
  expect(stopsAfter(Array.from({ length: 20 }, (_, i) => full(i)))).toBe(8)
  expect(() => {
    const failures = new EqualFailures()
    for (let i = 0; i < 8; i++) failures.note(full(i))
  }).toThrow('the last 8 runs failed in the same way: no space left in /data/run-0: 0 bytes')
})

test('a study goes on if failures differ, and once any run of it has finished, here or elsewhere', () => {
  const other = [...Array.from({ length: 7 }, () => failed('no text')), failed('no device')]
  expect(stopsAfter([...other, ...other])).toBe(null)
  const equal = Array.from({ length: 20 }, () => failed('no text'))
  expect(stopsAfter([finished, ...equal])).toBe(null)
  const elsewhere = new EqualFailures()
  elsewhere.noteFinished()
  expect(stopsAfter(equal, elsewhere)).toBe(null)
})
