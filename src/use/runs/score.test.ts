import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { operations } from '../../faces/cli/operations.ts'
import { main } from '../../faces/cli/program/main.ts'
import { fakeIo } from '../../faces/cli/testing/fake.ts'
import { defineConfig, Run, train } from '../../faces/library/index.ts'
import type { NamedItem } from '../infer/scoring/scorable.ts'
import type { ContinuationScore, TextScore } from '../infer/scoring/score.ts'
import { scoreRun } from './score.ts'

let folder: string
let directory: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'choir-score-run-'))
  directory = join(folder, 'run')
  const source = join(folder, 'text.txt')
  writeFileSync(source, Array.from({ length: 40 }, (_, i) => `Line ${i} is about ${i * 7} things.\n\n`).join(''))
  const config = defineConfig({
    preset: 'tiny',
    model: { vocabulary: 300, sequence: 16 },
    data: { source, tokenizer: { kind: 'bytes' }, cache: join(folder, 'cache') },
    train: { steps: 3, checkpointEvery: 1, keep: 2 },
    runtime: { threads: 1 },
  })
  await train(config, { directory })
})
afterAll(() => rmSync(folder, { recursive: true }))

const totals = (scores: readonly unknown[]): number[] => scores.map((score) => (score as TextScore).total)

function expectNear(found: readonly number[], expected: readonly number[]): void {
  expect(found).toHaveLength(expected.length)
  for (const [i, value] of found.entries()) expect(value).toBeCloseTo(expected[i] as number, 3)
}

test('a stream of more items than are scored together has the scores of a list, in its order', async () => {
  const texts = Array.from({ length: 300 }, (_, i) => 'a line of text, and another'.slice(0, 1 + (i % 27)))
  const items = async function* (): AsyncGenerator<NamedItem, void> {
    for (const item of texts) yield { item, name: 'text' }
  }
  const found: unknown[] = []
  for await (const { item, score } of scoreRun(directory, items())) {
    expect(item).toBe(texts[found.length])
    found.push(score)
  }
  const run = await Run.load(directory)
  expectNear(totals(found), totals(await run.score(texts)))
  await run.close()
})

test('items before one that cannot be read are scored', async () => {
  const items = async function* (): AsyncGenerator<NamedItem, void> {
    for (const item of ['one', 'two', 'three']) yield { item, name: 'text' }
    throw new Error('line 4 is not JSON')
  }
  const found: unknown[] = []
  const reading = async () => {
    for await (const { item } of scoreRun(directory, items())) found.push(item)
  }
  await expect(reading()).rejects.toThrow('line 4 is not JSON')
  expect(found).toEqual(['one', 'two', 'three'])
})

test('items before one that cannot be scored are scored', async () => {
  const items = async function* (): AsyncGenerator<NamedItem, void> {
    for (const item of ['one', { context: 'two', continuation: '' }, 'three']) yield { item, name: 'text' }
  }
  const found: unknown[] = []
  const reading = async () => {
    for await (const { item } of scoreRun(directory, items())) found.push(item)
  }
  await expect(reading()).rejects.toThrow(/continuation/)
  expect(found).toEqual(['one'])
})

test('the command prints the scores of the library, of the checkpoint and with the stride that it is given', async () => {
  const item = { context: 'Line 7 is about', continuation: ' many things, and about more than the context has' }
  const stdin = `${JSON.stringify({ text: item.continuation })}\n${JSON.stringify(item)}\n`
  const printed = async (...args: string[]): Promise<ContinuationScore[]> => {
    const fake = fakeIo({ stdin, operations: { score: operations.score } })
    expect(await main(['score', directory, ...args], fake.io), fake.stderr.text).toBe(0)
    return fake.stdout.text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
  }
  const run = await Run.load(directory)
  const expected = await run.score([item.continuation, item])
  expectNear(totals(await printed()), totals(expected))
  const strided = totals(await run.score([item.continuation, item], { stride: 3 }))
  expectNear(totals(await printed('--stride', '3')), strided)
  expect(strided[0]).not.toBeCloseTo(expected[0].total, 3)
  await run.close()
  const older = await Run.load(directory, { checkpoint: 2 })
  expectNear(totals(await printed('--checkpoint', '2')), totals(await older.score([item.continuation, item])))
  expect(totals(await printed('--checkpoint', '2'))[0]).not.toBeCloseTo(expected[0].total, 3)
  // Rounded weights are other weights, with nearly the same scores.
  const [int8] = totals(await printed('--weights', 'int8', '--checkpoint', '2'))
  const [float32] = totals(await older.score([item.continuation]))
  expect(int8).not.toBe(float32)
  expect(int8).toBeCloseTo(float32 as number, 0)
  await older.close()
})
