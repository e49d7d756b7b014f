import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Piece } from '../sources/piece.ts'
import { counted, Progress } from './progress.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }))
afterEach(() => void vi.useRealTimers())

test('a pass reports what it has done, its total if that is known, and its rate', () => {
  const messages: string[] = []
  const [known, open] = [
    new Progress('tokenizing', 8e6, (message) => messages.push(message)),
    new Progress('reading notes', undefined, (message) => messages.push(message)),
  ]
  const bytes = new Progress('hashing notes', undefined, (message) => messages.push(message), 'bytes')
  vi.advanceTimersByTime(2000)
  known.add(3e6)
  open.add(1e6)
  bytes.add(5e6)
  expect(messages).toEqual([
    'tokenizing: 3.0 of 8.0 million characters, 1.5 million per second',
    'reading notes: 1.0 million characters, 0.5 million per second',
    'hashing notes: 5.0 million bytes, 2.5 million per second',
  ])
})

test('progress is reported each second at first, and fewer than 60 times in an hour', () => {
  const times: number[] = []
  let now = 0
  const progress = new Progress('tokenizing', undefined, () => times.push(now))
  for (now = 0.1; now <= 3600; now += 0.1) {
    vi.advanceTimersByTime(100)
    progress.add(1000)
  }
  expect(times.slice(0, 4).map(Math.round)).toEqual([1, 2, 3, 4])
  expect(times.length).toBeGreaterThan(20)
  expect(times.length).toBeLessThan(60)
})

test('pieces pass unchanged and are all counted', async () => {
  const pieces = ['a', 'bc', ''].map((text): Piece => ({ text, last: true, name: '', metadata: undefined }))
  const added: number[] = []
  const progress = { add: (characters: number) => added.push(characters) } as unknown as Progress
  const read: Piece[] = []
  const source = (async function* () {
    yield* pieces
  })()
  for await (const piece of counted(source, progress)) read.push(piece)
  expect(read).toEqual(pieces)
  expect(added).toEqual([1, 2, 0])
})
