/** @slow */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { tokenizerFromJson } from '../../src/node/data/tokenizer/native-tokenizer.ts'
import { fuzzTimeout, runs } from '../support/soak.ts'
import { faultOf, outcomeOf } from './outcome.ts'
import { tokenizers } from './tokenizers.ts'
import { changed, damaged } from './values.ts'

async function use(json: string): Promise<void> {
  const tokenizer = tokenizerFromJson(json)
  for (const text of ['', 'the aaaa hé', 'a'.repeat(300)]) {
    const ids = await tokenizer.encode(text)
    tokenizer.decode(ids)
  }
  tokenizer.show(2)
}

/** Long texts without a line break, on which a library once recursed until the process ended. */
const long: Readonly<Record<string, string>> = {
  'one letter 100,000 times': 'a'.repeat(100_000),
  'two words 20,000 times': 'hello world '.repeat(20_000),
  'spaces only': ' '.repeat(100_000),
  'signs of four bytes': '😀'.repeat(20_000),
  'digits and signs': '1!'.repeat(50_000),
}

describe.each(Object.entries(tokenizers))('a tokenizer.json of kind %s', (_, json) => {
  test(
    'with any other value is refused with a message, or tokenizes',
    async () => {
      await fc.assert(
        fc.asyncProperty(changed(json), async (other) => {
          expect(faultOf(await outcomeOf(() => use(JSON.stringify(other))))).toBeNull()
        }),
        runs(100),
      )
    },
    fuzzTimeout,
  )

  test(
    'that is damaged is refused with a message, or tokenizes',
    async () => {
      await fc.assert(
        fc.asyncProperty(damaged(Buffer.from(JSON.stringify(json))), async (bytes) => {
          expect(faultOf(await outcomeOf(() => use(bytes.toString())))).toBeNull()
        }),
        runs(60),
      )
    },
    fuzzTimeout,
  )

  test.each(Object.entries(long))(
    'encodes a long text: %s',
    async (_, text) => {
      const tokenizer = tokenizerFromJson(JSON.stringify(json))
      const [one, [batched]] = await Promise.all([tokenizer.encode(text), tokenizer.encodeBatch([text])])
      expect(batched).toEqual(one)
    },
    60_000,
  )
})
