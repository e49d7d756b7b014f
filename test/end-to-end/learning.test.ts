/** Trainings learn what their texts allow, and evaluation and generation show it. */
import { expect, test } from 'vitest'
import { generate } from '../../src/use/runs/generate.ts'
import { expectSeeded, generatedPieces, learning, sampled } from './learning-runs.ts'
import { evalRecords, expectSuccess } from './support.ts'

const { workspace, memorised, learnChain, expectVerbatim } = learning()

const routers = { dense: null, 'top-k': { k: 2 } } as const

test.each(Object.entries(routers))(
  'a coin-toss chain is learned from its context, and not better than the coin allows: %s',
  async (name, moe) => {
    await learnChain(name, moe)
  },
)

test('`choir eval` repeats the last evaluation of the run exactly, at its capacity and at another', async () => {
  const last = evalRecords(memorised()).at(-1)
  const recordOf = async (...more: string[]): Promise<unknown> => {
    const { stdout } = await expectSuccess(workspace().start('eval', memorised(), '--json', ...more))
    const [line = '', ...others] = stdout.trimEnd().split('\n')
    expect(others).toEqual([])
    return JSON.parse(line)
  }
  expect(await recordOf('--capacity', 'eval')).toEqual({ ...last, version: 1 })
  expect(await recordOf()).toMatchObject({
    capacity: 'none',
    ...last?.capacities.none,
    capacities: last?.capacities,
  })
})

test('temperature 0 continues a memorised text verbatim, far beyond the sequence', () => expectVerbatim('float32'))

test('a seed gives the same text again, and another seed gives another text', () => expectSeeded(memorised()))

test('text is yielded token by token, and stops when the signal is aborted', async () => {
  const all = await generatedPieces(memorised(), 3)
  // A token is a byte. Every token is a piece, except those within a multi-byte character.
  expect(all.length).toBeGreaterThan(sampled.tokens / 2)
  const controller = new AbortController()
  const some: string[] = []
  for await (const piece of generate(memorised(), { ...sampled, seed: 3, signal: controller.signal })) {
    some.push(piece)
    if (some.length === 3) controller.abort()
  }
  // A piece with the rest of an incomplete character may follow.
  expect(some.slice(0, 3)).toEqual(all.slice(0, 3))
  expect(some.length).toBeLessThanOrEqual(4)
})
