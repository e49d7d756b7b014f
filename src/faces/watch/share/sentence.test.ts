import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../../node/data/testing/temporary-folder.ts'
import { ProblemError } from '../../http/problem.ts'
import type { Question, UnnamedTrace } from '../tracing/messages.ts'
import type { TraceProcesses } from '../tracing/processes.ts'
import { evenly, sentenceOf } from './sentence.ts'

const { make } = temporaryFolder()
const options = { signal: new AbortController().signal, onMessage: () => {} }
const summary = { kind: 'choir', traceable: true } as const

function runWith(...names: string[]): string {
  const run = make()
  for (const name of names) mkdirSync(join(run, 'checkpoints', name), { recursive: true })
  return run
}

const router = { layer: 0, module: 'ffn', experts: 4, prototypes: 1, choices: 1 }
/** A model whose experts of two tokens are the step, and which fails at the steps that are given. */
function processesOf(fails: Readonly<Record<number, string>> = {}) {
  const asked: Question[] = []
  const ask = async (_: string, question: Question) => {
    asked.push(question)
    if (question.kind !== 'trace') return { title: 'a', text: 'some words' }
    const step = question.checkpoint ?? -1
    if (fails[step] !== undefined) throw new ProblemError(409, fails[step])
    const routers = [{ ...router, expert: [step, step], gate: null }]
    return { step, loss: 2, tokens: ['some', ' words'], cut: false, routers } satisfies UnnamedTrace
  }
  return { asked, processes: { ask } as unknown as Pick<TraceProcesses, 'ask'> }
}

test('the text is routed with every checkpoint, in order, and with nothing else in the folder', async () => {
  const run = runWith('step-00000120', 'step-00000040', '.step-00000160.writing', 'step-00000080.aside', 'notes')
  const { asked, processes } = processesOf()
  expect(await sentenceOf(run, summary, processes, options)).toEqual({
    title: 'a',
    tokens: ['some', ' words'],
    routers: [router],
    traces: [
      { step: 40, loss: 2, experts: [[40, 40]] },
      { step: 120, loss: 2, experts: [[120, 120]] },
    ],
    failed: [],
  })
  expect(asked).toEqual([
    { kind: 'sentence' },
    ...[40, 120].map((checkpoint) => ({ kind: 'trace', what: { text: 'some words' }, checkpoint })),
  ])
})

test('a checkpoint that cannot be read is named, and the others are shown', async () => {
  const run = runWith('step-00000040', 'step-00000080')
  const { processes } = processesOf({ 40: 'it is damaged' })
  expect(await sentenceOf(run, summary, processes, options)).toMatchObject({
    traces: [{ step: 80 }],
    failed: [{ step: 40, reason: 'it is damaged' }],
  })
})

test.each<[string, Parameters<typeof sentenceOf>[1], string[], Record<number, string>, string]>([
  ['a trace', { kind: 'trace', traceable: true }, [], {}, 'neither a model'],
  ['a run without a checkpoint', { kind: 'choir', traceable: false }, [], {}, 'no checkpoint'],
  ['a run without a readable one', summary, ['step-00000040'], { 40: 'it is damaged' }, 'it is damaged'],
])('%s has the reason in place of a text', async (_, run, names, fails, reason) => {
  const answer = await sentenceOf(runWith(...names), run, processesOf(fails).processes, options)
  expect(answer).toEqual({ reason: expect.stringContaining(reason) })
})

test('a failure of the program itself is not taken for a reason', async () => {
  const processes = { ask: async () => Promise.reject(new Error('internal: broken')) }
  await expect(sentenceOf(runWith('step-00000040'), summary, processes, options)).rejects.toThrow('internal: broken')
})

test('many checkpoints are thinned evenly, with the first and the last', () => {
  expect(evenly([1, 2, 3], 12)).toEqual([1, 2, 3])
  const items = Array.from({ length: 100 }, (_, i) => i)
  expect(evenly(items, 12)).toHaveLength(12)
  expect(evenly(items, 12)).toEqual([0, 9, 18, 27, 36, 45, 54, 63, 72, 81, 90, 99])
})
