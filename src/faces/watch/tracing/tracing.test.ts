import { expect, test } from 'vitest'
import type { WatchedRun } from '../runs/collection.ts'
import { fakeWatched } from '../testing/fake-watched.ts'
import { TraceProcesses } from './processes.ts'
import { RunTracing } from './tracing.ts'

const never = new AbortController().signal
const tracing = new RunTracing(new TraceProcesses([]))
const trace = fakeWatched().run('t1') as WatchedRun

test('the documents of a Megatron-Core trace are its recorded steps', async () => {
  expect((await tracing.documents(trace, never)).documents).toEqual([
    { index: 0, title: 'step 10', characters: 0 },
    { index: 1, title: 'step 20', characters: 0 },
    { index: 2, title: 'step 30', characters: 0 },
  ])
  expect(await tracing.trace(trace, { document: 1 }, never)).toMatchObject({ run: 't1', step: 20 })
})

test('a Megatron-Core trace has no model, and a step outside it is unknown', async () => {
  await expect(tracing.trace(trace, { text: 'a' }, never)).rejects.toMatchObject({ status: 409 })
  await expect(tracing.topTokens(trace, { router: 0, expert: 0 }, never)).rejects.toMatchObject({ status: 409 })
  await expect(tracing.trace(trace, { document: 3 }, never)).rejects.toMatchObject({ status: 404 })
})
