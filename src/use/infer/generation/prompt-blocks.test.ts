/** How a prompt is cut into blocks. */
import { expect, test } from 'vitest'
import { randomFor } from '../../../core/random.ts'
import { blocksOf, commonBlocks } from './prompt-blocks.ts'

const seed = Number(process.env.CHOIR_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31))

test('the program of a block depends on its position and its number of tokens, not on the prompt', () => {
  const random = randomFor(seed, 'blocks')
  for (let round = 0; round < 500; round++) {
    const where = `CHOIR_TEST_SEED=${seed}, round ${round}`
    const [sequence, block] = [1 + random.integer(3000), 1 + random.integer(300)]
    const length = 1 + random.integer(sequence)
    const blocks = blocksOf(length, 0, sequence, block)
    expect(
      blocks.reduce((sum, { count }) => sum + count, 0),
      where,
    ).toBe(length)
    const whole = blocksOf(sequence, 0, sequence, block)
    for (const [j, { from, count, tokens, past }] of blocks.entries()) {
      expect(from, where).toBe(j * block)
      if (count === block) expect({ from, count, tokens, past }, where).toEqual(whole[j])
      // The program has room for the tokens, stays inside the context, and reads all earlier positions.
      expect(tokens, where).toBeGreaterThanOrEqual(count)
      expect(from + tokens, where).toBeLessThanOrEqual(sequence)
      expect(past, where).toBeGreaterThanOrEqual(from)
      expect(past, where).toBeLessThanOrEqual(sequence)
      expect(past === 0, where).toBe(from === 0)
    }
    const from = block * random.integer(blocks.length)
    expect(blocksOf(length, from, sequence, block), where).toEqual(blocks.slice(from / block))
  }
})

test('a context of 4096 tokens has programs for five lengths of the past', () => {
  expect(new Set(blocksOf(4096, 0, 4096, 128).map(({ past }) => past))).toEqual(new Set([0, 128, 512, 2048, 3968]))
})

test('prompts have the full blocks in common in which all tokens are the same', () => {
  const prompt = Array.from({ length: 10 }, (_, i) => i)
  const other = (at: number) => prompt.map((token, i) => (i === at ? -1 : token))
  expect(commonBlocks(prompt, prompt, 4)).toBe(8)
  expect(commonBlocks(prompt, other(9), 4)).toBe(8)
  expect(commonBlocks(prompt, other(7), 4)).toBe(4)
  expect(commonBlocks(prompt, other(3), 4)).toBe(0)
  expect(commonBlocks(prompt.slice(0, 7), prompt, 4)).toBe(4)
})
