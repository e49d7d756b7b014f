import { expect, test } from 'vitest'
import { parseInput } from '../../config/problems.ts'
import { type RunInput, runSchema } from '../../config/run-config.ts'
import { UsageError } from '../../errors.ts'

const refusal = (input: RunInput): string => {
  try {
    parseInput(runSchema, input, 'configuration')
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError)
    return (error as Error).message
  }
  return ''
}

test.each<[RunInput, RegExp]>([
  [
    { train: { optimizer: { epsilon: 1e-50 } } },
    /^invalid train\.optimizer\.epsilon: 1e-50 \(must be from 1\.2e-38 to/,
  ],
  [{ train: { optimizer: { clip: 1e39 } } }, /^invalid train\.optimizer\.clip: 1e\+39 \(must be from .*float32/],
  [{ train: { init: { residual: 1e-45 } } }, /^invalid train\.init\.residual: 1e-45 \(must be from/],
  [{ model: { normEpsilon: 1e-50 } }, /^invalid model\.normEpsilon: 1e-50 \(must be from/],
  [{ model: { headScale: 1e300 } }, /^invalid model\.headScale: 1e\+300 \(must be from/],
  [{ model: { moe: { balance: { coefficient: 1e-60 } } } }, /^invalid model\.moe\.balance\.coefficient: 1e-60/],
  [{ train: { optimizer: { beta2: 1 - 2 ** -30 } } }, /^invalid train\.optimizer\.beta2: 0\.9+\d* \(must be below 1/],
  [
    { train: { schedule: { learningRate: 1e8 } } },
    /^invalid train\.schedule\.learningRate: 100000000 \(must be at most 2\^24: .*24 bits/,
  ],
  [
    { train: { schedule: { learningRate: 1, expertRate: 1e8 } } },
    /learningRate: 1 \(must be at most 2\^24, also times expertRate/,
  ],
  [
    { train: { optimizer: { weightDecay: 1e30 } } },
    /^invalid train\.optimizer\.weightDecay: 1e\+30 \(must be at most 1000: .*negative/,
  ],
  [
    { train: { optimizer: { expertWeightDecay: 300 }, schedule: { expertRate: 10 } } },
    /expertWeightDecay: 300 \(must be at most 100:/,
  ],
  [
    { model: { moe: { balance: { coefficient: 1e24 } } } },
    /^invalid model\.moe\.balance\.coefficient: 1e\+24 \(must be at most 2\^24: .*24 bits/,
  ],
  [
    { model: { moe: { balance: { coefficient: 0.5 } } }, train: { schedule: { finalBalance: 2 ** 26 } } },
    /^invalid train\.schedule\.finalBalance: 67108864 \(must be at most 2\^24 \/ model/,
  ],
  [{ model: { moe: { zLoss: 1e10 } } }, /^invalid model\.moe\.zLoss: 10000000000 \(must be at most 2\^24/],
  [{ model: { vocabulary: 257 } }, /^invalid model\.vocabulary: 257 \(must be above 257: .*256 bytes/],
  [
    { model: { vocabulary: 256 }, data: { tokenizer: { kind: 'bytes' } } },
    /^invalid model\.vocabulary: 256 \(must be at least 257/,
  ],
])('%j is refused with the bound and its reason', (input, message) => {
  expect(refusal(input)).toMatch(message)
})

test('numbers at the bounds, and 0 where it turns something off, are accepted', () => {
  const edge = 2 ** -126
  const largest = Math.fround(3.4028234663852886e38)
  for (const input of [
    { train: { optimizer: { epsilon: edge, clip: 0, weightDecay: 0 } } },
    { train: { optimizer: { clip: largest } } },
    { train: { optimizer: { weightDecay: 1000 } } },
    { train: { optimizer: { weightDecay: 0 }, schedule: { learningRate: 2 ** 24 } } },
    { model: { moe: { balance: { coefficient: 0.5 } } }, train: { schedule: { finalBalance: 2 ** 25 } } },
    { model: { vocabulary: 258 } },
    { model: { vocabulary: 257 }, data: { tokenizer: { kind: 'bytes' } } },
    // A tokenizer in a file has its own vocabulary, which is checked later.
    { model: { vocabulary: 40 }, data: { tokenizer: { kind: 'file', path: 'tokenizer.json' } } },
  ] satisfies RunInput[])
    expect(refusal(input)).toBe('')
})
