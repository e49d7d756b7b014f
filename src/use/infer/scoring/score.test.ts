import { afterAll, describe, expect, test } from 'vitest'
import { ownRouters } from '../../../core/model/routing/own.ts'
import { routerOf } from '../../../core/model/routing/routers.ts'
import { createRuntime } from '../../../engine/cpu/cpu-runtime.ts'
import { byteLevelTokenizer } from '../../../train/data/tokenizer/tokenizer.ts'
import { byteLevelJson } from '../../../train/data/tokenizer/tokenizer-json.ts'
import { Evaluator } from '../../../train/step/evaluation/evaluation.ts'
import { scorable } from './scorable.ts'
import { type ChoicesScore, type ContinuationScore, scoreItems, type TextScore } from './score.ts'
import { Scorer } from './scorer.ts'
import {
  type Asked,
  bySteps,
  bytes,
  expectNear,
  LONG,
  type Moe,
  SEQUENCE,
  score,
  scoredModel,
  TEXT,
  textScore,
  VOCABULARY,
  values,
} from './testing/scored-model.ts'

const runtime = await createRuntime({ threads: 1 })
afterAll(() => runtime.close())

const modelOf = (asked?: Asked) => scoredModel(runtime, asked)

describe('log-probabilities are the log-softmax of the logits that generation computes, token after token, for', () => {
  const routers: Record<string, Moe | null> = {
    'a dense model': null,
    'top-2 with a capacity': { k: 2, capacity: '1x', factor: 0.5 },
    'top-2 in groups': { k: 2, groups: 2 },
    'expert-choice': { router: 'expert-choice', k: 2 },
    sinkhorn: { router: 'sinkhorn', k: 1 },
    hash: { router: 'hash', k: 2 },
    random: { router: 'random', k: 2 },
    'experts in attention': { k: 2, attention: 'all' },
  }
  test.each(Object.entries(routers))('%s', async (_, moe) => {
    const model = await modelOf({ moe })
    const expected = await bySteps(model, [bytes.endOfText, ...Buffer.from(TEXT)])
    const [whole, start] = (await score(model, [TEXT, { context: '', continuation: TEXT.slice(0, 3) }])) as [
      TextScore,
      ContinuationScore,
    ]
    expectNear(
      values(whole),
      expected.map(({ logProbability }) => logProbability),
    )
    expect(start.isGreedy).toBe(expected.slice(0, 3).every(({ greedy }) => greedy))
    expect(whole.tokens.map(({ text }) => text).join('')).toBe(TEXT)
    expect(whole.tokens.map(({ id }) => id)).toEqual([...Buffer.from(TEXT)])
  })
})

test('a continuation is greedy if each of its tokens is the most probable one', async () => {
  const model = await modelOf()
  /** The most probable token after a text, by generation. */
  const likeliest = async (text: string) =>
    (await bySteps(model, [bytes.endOfText, ...Buffer.from(text), 0])).at(-1)?.likeliest as number
  let found: { readonly context: string; readonly byte: number } | undefined
  for (let i = 65; !found && i < 127; i++) {
    const context = String.fromCharCode(i)
    const byte = await likeliest(context)
    // A byte from 128 on is not a character of its own, and white space would belong to the continuation.
    if (byte > 32 && byte < 127) found = { context, byte }
  }
  const { context, byte } = found as NonNullable<typeof found>
  const [right, wrong] = [String.fromCharCode(byte), String.fromCharCode(byte - 1)]
  const scores = (await score(model, [
    { context, continuation: right },
    { context, continuation: wrong },
    { context, continuation: `${right}${wrong}${right}${right}` },
  ])) as ContinuationScore[]
  expect(scores.map(({ isGreedy }) => isGreedy)).toEqual([true, false, false])
})

test.each([5, 8, SEQUENCE])(
  'a text longer than the context is scored in windows with a stride of %d',
  async (stride) => {
    for (const moe of [{ k: 2 }, { router: 'random', k: 2 }] as const) {
      const model = await modelOf({ moe })
      const ids = [bytes.endOfText, ...Buffer.from(LONG)]
      const windows = new Map<number, Awaited<ReturnType<typeof bySteps>>>()
      const expected: number[] = []
      for (let token = 1; token < ids.length; token++) {
        // The first window that reads the token before this one.
        const start = Math.ceil(Math.max(0, token - SEQUENCE) / stride) * stride
        const steps = windows.get(start) ?? (await bySteps(model, ids.slice(start, start + SEQUENCE + 1), start))
        windows.set(start, steps)
        expected.push(steps[token - start - 1]?.logProbability as number)
      }
      expectNear(values(await textScore(model, LONG, { stride })), expected)
      if (stride === SEQUENCE / 2) expectNear(values(await textScore(model, LONG)), expected)
    }
  },
)

test('with a stride of the context the mean is minus the dropless loss of an evaluation of the same tokens', async () => {
  for (const crossDocuments of [true, false]) {
    const model = await modelOf({ crossDocuments })
    const { config, store, tokenizer } = model
    // A document ends inside the text.
    const text = `${LONG}<|endoftext|>${LONG}`
    const ids = Int32Array.of(tokenizer.endOfText, ...(await tokenizer.encode(text)))
    const heldOut = {
      length: ids.length,
      documents: 1,
      read: (offset: number, into: Int32Array) => into.set(ids.subarray(offset, offset + into.length)),
    }
    const separator = crossDocuments ? undefined : tokenizer.endOfText
    const evaluator = await Evaluator.compile(runtime, config.model, store, 6, 0, separator)
    const { evaluation } = await evaluator.run({ heldOut, tokenizer }, 'none')
    evaluator.release()
    const found = await textScore(model, text, { stride: SEQUENCE })
    expect(found.tokens).toHaveLength(evaluation.evaluated_tokens)
    expect(found.mean).toBeCloseTo(-evaluation.loss, 5)
    expect(found.bitsPerByte).toBeCloseTo(evaluation.bits_per_byte, 5)
    expect(found.total).toBeCloseTo(-evaluation.loss * evaluation.evaluated_tokens, 3)
  }
})

test('the score of a text is the same alone and among other texts, of other lengths too', async () => {
  const texts = ['a', TEXT, LONG, 'Two words', LONG.slice(9), `${LONG}${LONG}`, 'b', 'c', 'd']
  for (const moe of [
    null,
    { k: 2, capacity: '1x', factor: 0.5 },
    { router: 'expert-choice', k: 2 },
    { router: 'random' },
  ]) {
    const model = await modelOf({ moe: moe as Moe | null })
    const together = (await score(model, texts)) as TextScore[]
    for (const [i, text] of texts.entries())
      expectNear(values(together[i] as TextScore), values(await textScore(model, text)), 1e-5)
  }
})

test('an uninformed model gives each token −ln V, and every token is as probable as the most probable one', async () => {
  const model = await modelOf({ scale: 0 })
  const [whole, part] = (await score(model, [LONG, { context: 'a', continuation: 'bcd' }])) as [
    TextScore,
    ContinuationScore,
  ]
  expectNear(values(whole), Array(LONG.length).fill(-Math.log(VOCABULARY)), 1e-5)
  expect(whole.mean).toBeCloseTo(-Math.log(VOCABULARY), 5)
  expect(whole.bitsPerByte).toBeCloseTo(Math.log2(VOCABULARY), 5)
  expect(part.total).toBeCloseTo(-3 * Math.log(VOCABULARY), 5)
  expect(part.isGreedy).toBe(true)
})

test('the totals of a context and of its continuation add up to the total of both, also across windows', async () => {
  const model = await modelOf()
  for (const [context, continuation] of [
    [TEXT, ' and more'],
    ['F', TEXT.slice(1)],
    [LONG, LONG],
  ] as const) {
    const [first, second, both] = (await score(model, [
      context,
      { context, continuation },
      { text: context + continuation },
    ])) as [TextScore, ContinuationScore, TextScore]
    expect(first.total + second.total).toBeCloseTo(both.total, 4)
    expect(second.tokens.map(({ text }) => text).join('')).toBe(continuation)
  }
})

test('a model without a begin token reads a context as it is, and a text alone after the separator', async () => {
  const tokenizer = { ...bytes, rules: { ...bytes.rules, begin: null } }
  const model = await modelOf({ tokenizer })
  const [alone, after] = (await score(model, ['abc', { context: 'abc', continuation: 'de' }])) as [TextScore, TextScore]
  const steps = async (ids: number[]) => (await bySteps(model, ids)).map(({ logProbability }) => logProbability)
  expectNear(values(alone), await steps([tokenizer.endOfText, ...Buffer.from('abc')]))
  expectNear(values(after), (await steps([...Buffer.from('abcde')])).slice(2))
})

test('a context that begins with the begin token gets no second one', async () => {
  const tokenizer = { ...bytes, rules: { ...bytes.rules, begin: 'a'.charCodeAt(0) } }
  const model = await modelOf({ tokenizer })
  const pairs = [
    { context: 'abc', continuation: 'de' },
    { context: 'bc', continuation: 'de' },
  ]
  const [given, added] = (await score(model, pairs)) as [TextScore, TextScore]
  const steps = (await bySteps(model, [...Buffer.from('abcde')])).map(({ logProbability }) => logProbability)
  expectNear(values(given), steps.slice(2))
  expectNear(values(added), steps.slice(2))
})

test('white space at the end of a context belongs to the continuation', async () => {
  const model = await modelOf()
  const [before, after] = (await score(model, [
    { context: 'One \n', continuation: 'two' },
    { context: 'One', continuation: ' \ntwo' },
  ])) as [ContinuationScore, ContinuationScore]
  expect(before).toEqual(after)
  expect(before.tokens.map(({ text }) => text).join('')).toBe(' \ntwo')
})

describe('with a tokenizer that merges letters', () => {
  // Ids from 256 on: ab, abc, end of text.
  const merging = byteLevelTokenizer(
    byteLevelJson([
      ['a', 'b'],
      ['ab', 'c'],
    ]),
  )
  const merged = () => modelOf({ tokenizer: merging })

  test('a continuation has the tokens of the whole text after as many as the context has alone', async () => {
    const model = await merged()
    // `xa` has 2 tokens, and `xab` has x and ab. So `bd` is d alone, after x and a.
    const [found] = (await score(model, [{ context: 'xa', continuation: 'bd' }])) as [ContinuationScore]
    expect(found.tokens.map(({ id }) => id)).toEqual(['d'.charCodeAt(0)])
    const expected = await bySteps(model, [merging.endOfText, ...Buffer.from('xad')])
    expect(found.total).toBeCloseTo(expected.at(-1)?.logProbability as number, 4)
  })

  test('a continuation without a token of its own is refused by its name', async () => {
    await expect(score(await merged(), ['a', { context: 'x ab', continuation: 'c' }])).rejects.toThrow(
      /^invalid texts\[1\]: the continuation "c" has no token of its own/,
    )
  })
})

test('the best choices are those with the largest total, mean, and total per byte without white space before', async () => {
  const model = await modelOf()
  const context = 'The answer:'
  const choices = [' a', ' two', ' a much longer one', ' é', ' b']
  const [found, ...alone] = (await score(model, [
    { context, choices },
    ...choices.map((continuation) => ({ context, continuation })),
  ])) as [ChoicesScore, ...ContinuationScore[]]
  for (const [i, choice] of found.choices.entries())
    expectNear(values(choice), values(alone[i] as ContinuationScore), 1e-5)
  const largest = (all: number[]) => all.indexOf(Math.max(...all))
  const sizes = [1, 3, 17, 2, 1]
  expect(found.best).toEqual({
    total: largest(alone.map(({ total }) => total)),
    mean: largest(alone.map(({ total, tokens }) => total / tokens.length)),
    perByte: largest(alone.map(({ total }, i) => total / (sizes[i] as number))),
  })
})

test('without a begin token the first token has no score, and its bytes do not count', async () => {
  const model = await modelOf()
  const expected = await bySteps(model, [...Buffer.from(TEXT)])
  const logProbabilities = expected.map(({ logProbability }) => logProbability)
  const total = logProbabilities.reduce((sum, value) => sum + value, 0)
  const found = await textScore(model, TEXT, { begin: false })
  expectNear(values(found), [null, ...logProbabilities])
  expect(found.total).toBeCloseTo(total, 4)
  expect(found.mean).toBeCloseTo(total / (TEXT.length - 1), 5)
  expect(found.bitsPerByte).toBeCloseTo(-total / Math.LN2 / (TEXT.length - 1), 5)
  const [first, continued] = (await score(model, ['F', { context: 'F', continuation: TEXT.slice(1) }], {
    begin: false,
  })) as [TextScore, ContinuationScore]
  expect(first).toMatchObject({ tokens: [{ logProbability: null }], total: 0, mean: Number.NaN })
  expectNear(values(continued), logProbabilities)
  await expect(score(model, [{ context: ' ', continuation: 'a' }], { begin: false })).rejects.toThrow(
    /^invalid texts\[0\]: its context is empty/,
  )
})

test('a text may have more tokens than a call has arguments', async () => {
  const count = 150_000
  const model = await modelOf({ moe: null, scale: 0, batch: 128 })
  const { tokens, total } = await textScore(model, 'a'.repeat(count), { stride: SEQUENCE })
  expect(tokens).toHaveLength(count)
  expect(total / count).toBeCloseTo(-Math.log(VOCABULARY), 4)
})

test('a character of several bytes is the text of its last token', async () => {
  const { tokens } = await textScore(await modelOf(), 'aé')
  expect(tokens.map(({ text }) => text)).toEqual(['a', '', 'é'])
})

test('a router that sees later tokens, and a stride beyond the context, are refused', async () => {
  const own = 'later@0123456789abcdef'
  ownRouters.register(own, {
    name: 'later',
    sees: 'batch',
    choose: (input) => routerOf({ ...input.moe, router: 'top-k' }).choose(input),
  })
  const moe = { router: 'own', own, k: 2 } as Moe
  await expect(score(await modelOf({ moe }), ['a'])).rejects.toThrow(/^invalid model: its router later@.* later tokens/)
  await expect(score(await modelOf(), ['a'], { stride: 17 })).rejects.toThrow(
    /^invalid stride: 17 \(expected at most 16/,
  )
})

test('an aborted signal ends scoring with its reason, also between two passes', async () => {
  const reason = new Error('enough')
  await expect(score(await modelOf(), ['a'], { signal: AbortSignal.abort(reason) })).rejects.toThrow(reason)
  const controller = new AbortController()
  const model = await modelOf()
  const scorer = new Scorer(model)
  // 96 tokens are a pass, so these are hundreds of passes.
  const items = Array.from({ length: 300 }, () => scorable(LONG, 'text'))
  setTimeout(() => controller.abort(reason), 1)
  await expect(scoreItems(scorer, items, { signal: controller.signal })).rejects.toThrow(reason)
  scorer.release()
})
