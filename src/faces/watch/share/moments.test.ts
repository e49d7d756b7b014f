/** The rules of moments, on series made by hand and at random. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { randomFor } from '../../../core/random.ts'
import { MAX_MOMENTS, ruleTexts } from './moment-rules.ts'
import type { RouterSeries } from './moments.ts'
import { dropMoments, episodesOf, expertMoments, findMoments, heldOutMoments, trainingMoments } from './moments.ts'

const episodes = (states: string) =>
  episodesOf(states.length, (at) => states[at] === 'x').map(({ from, to }) => `${from}-${to}`)

/** Experts of a made router whose loads are not given. */
const OTHERS = 6

/**
 * A router whose loads are given as shares, an array for each expert, with a snapshot every 10 steps. Six more experts
 * take the rest evenly, so that the mean is 100 tokens.
 */
function routerWith(shares: readonly (readonly number[])[], more: Partial<RouterSeries> = {}): RouterSeries {
  const snapshots = shares[0]?.length ?? 0
  const experts = shares.length + OTHERS
  const rest = (t: number) => (experts - shares.reduce((sum, share) => sum + (share[t] ?? 0), 0)) / OTHERS
  const tokens = (t: number, expert: number) => 100 * (shares[expert]?.[t] ?? rest(t))
  return {
    router: 0,
    info: { layer: 2, module: 'ffn', experts, prototypes: 1 },
    place: 'layer 2',
    steps: Array.from({ length: snapshots }, (_, t) => 10 * (t + 1)),
    tokens,
    dropRate: Array.from({ length: snapshots }, () => 0),
    ...more,
  }
}

const even = [1, 1, 1, 1, 1, 1, 1, 1]
/** Moments without their sizes, of the kinds that are asked for. */
const summary = (series: RouterSeries) =>
  expertMoments(series).map(({ kind, step, experts, text, detail }) => ({ kind, step, experts, text, detail }))

describe('episodes', () => {
  test.each([
    ['........', []],
    ['..x..x..', []],
    ['..xx....', ['2-4']],
    ['xx.x.xxx', ['0-8']],
    ['xx..xx..', ['0-2', '4-6']],
    ['.....x', []],
    ['....xx', ['4-6']],
    ['xxxxx.', ['0-6']],
    ['', []],
  ])('%s has the episodes %j: two in a row begin one, and two in a row end it', (states, expected) => {
    expect(episodes(states)).toEqual(expected)
  })

  test('are in order, apart, at least two long, and begin and end with two equal states', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 40 }), (states) => {
        let last = 0
        for (const { from, to } of episodesOf(states.length, (at) => states[at] === true)) {
          expect(from).toBeGreaterThanOrEqual(last)
          expect(to - from).toBeGreaterThanOrEqual(2)
          expect(states.slice(from, from + 2)).toEqual([true, true])
          if (to < states.length) expect(states.slice(to, to + 2)).toEqual([false, false])
          last = to
        }
      }),
    )
  })
})

describe('an overload', () => {
  test('begins at twice the share for two snapshots, and ends below one and a half', () => {
    const share = [1, 1, 2.1, 2.5, 1.8, 1.4, 1.3, 1]
    expect(summary(routerWith([share]))).toEqual([
      {
        kind: 'overload',
        step: 30,
        experts: [0],
        text: 'Expert 0 of layer 2 takes twice its share',
        detail: 'up to 2.5 times, at step 40, and until step 60',
      },
    ])
  })

  test('of a single snapshot is no moment', () => {
    expect(summary(routerWith([[1, 1, 3, 1, 1, 1, 1, 1]]))).toEqual([])
  })

  test('of few tokens is no moment, because chance alone gives three of one', () => {
    const series = routerWith([[1, 1, 3, 3, 3, 1, 1, 1]])
    const few = { ...series, tokens: (t: number, expert: number) => series.tokens(t, expert) / 100 }
    expect(summary(few)).toEqual([])
  })

  test('until the end says so, and of two the larger is the moment', () => {
    const share = [2, 2, 1, 1, 1, 1, 3, 3]
    expect(summary(routerWith([share]))).toMatchObject([
      { step: 70, detail: 'up to 3.0 times, at step 70, and until the end' },
    ])
  })
})

describe('a death', () => {
  test('for good is "any more", from the first snapshot without tokens on', () => {
    expect(summary(routerWith([[1, 1, 0.3, 0, 0, 0, 0, 0]]))).toMatchObject([
      {
        kind: 'death',
        step: 40,
        experts: [0],
        text: 'Expert 0 of layer 2 gets no tokens any more',
        detail: 'until the end',
      },
    ])
  })

  test('that ends has its recovery, at half the share for two snapshots', () => {
    expect(summary(routerWith([[1, 0, 0, 0, 0.3, 0.6, 0.7, 1]]))).toEqual([
      {
        kind: 'death',
        step: 20,
        experts: [0],
        text: 'Expert 0 of layer 2 gets no tokens',
        detail: 'until step 50',
      },
      {
        kind: 'recovery',
        step: 60,
        experts: [0],
        text: 'Expert 0 of layer 2 recovers',
        detail: 'half its fair share or more, after none from step 20 to 40',
      },
    ])
  })

  test('with a token now and then is not said to be without any', () => {
    expect(summary(routerWith([[1, 0.01, 0.02, 0, 0.01, 0.02, 0, 0.01]]))).toMatchObject([
      {
        text: 'Expert 0 of layer 2 gets almost no tokens any more',
        detail: '1.0 % of its share, until the end',
      },
    ])
  })

  test('of an expert that never had a token is one, and has no recovery', () => {
    expect(summary(routerWith([even.map(() => 0)]))).toMatchObject([
      { kind: 'death', step: 10, text: 'Expert 0 of layer 2 gets no tokens at any snapshot' },
    ])
  })

  test('in which a fair share would have been fewer than 20 tokens is chance', () => {
    const series = routerWith([[1, 0, 0, 0, 1, 1, 1, 1]])
    const withMean = (mean: number) => ({
      ...series,
      tokens: (t: number, expert: number) => (series.tokens(t, expert) * mean) / 100,
    })
    expect(summary(withMean(6))).toEqual([])
    expect(summary(withMean(7))).toMatchObject([{ kind: 'death' }, { kind: 'recovery' }])
  })

  test('of several experts at about the same time is one moment, when all of them are dead', () => {
    const early = [1, 0, 0, 0, 0, 0, 0, 0]
    const late = [1, 1, 0, 0, 0, 0, 0, 0]
    const muchLater = [1, 1, 1, 1, 0, 0, 0, 0]
    const moments = summary(routerWith([early, late, muchLater])).filter(({ kind }) => kind === 'death')
    expect(moments).toEqual([
      {
        kind: 'death',
        step: 30,
        experts: [0, 1],
        text: 'Experts 0 and 1 of layer 2 get no tokens any more',
        detail: '0: until the end; 1: until the end',
      },
      expect.objectContaining({ step: 50, experts: [2] }),
    ])
  })
})

test('a moment of many experts names some of them, and when the last episode ends', () => {
  const until = (end: number) => [1, 1, ...Array.from({ length: 8 }, (_, t) => (t < end ? 0 : 1))]
  const deathOf = (...shares: number[][]) => summary(routerWith(shares)).find(({ kind }) => kind === 'death')
  expect(deathOf(until(8), until(8), until(8), until(8))).toMatchObject({
    text: 'Experts 0, 1, 2 and 3 of layer 2 get no tokens any more',
    detail: 'all until the end',
  })
  expect(deathOf(until(3), until(4), until(5), until(3))).toMatchObject({ detail: 'the last of them until step 80' })
  expect(deathOf(...Array.from({ length: 9 }, () => until(8)))).toMatchObject({
    text: 'Experts 0, 1, 2, 3, 4 and 4 more of layer 2 get no tokens any more',
  })
})

test('a share that is not quite nothing is not said to be 0 %', () => {
  const share = [1, 0.001, 0, 0, 0, 0, 0, 0]
  expect(summary(routerWith([share]))).toMatchObject([
    {
      text: 'Expert 0 of layer 2 gets almost no tokens any more',
      detail: 'less than 0.1 % of its share, until the end',
    },
  ])
})

test('a snapshot without any token is no death', () => {
  const series = routerWith([even])
  expect(summary({ ...series, tokens: () => 0 })).toEqual([])
})

test('a router that spreads its tokens at random has no moments, whatever the number of tokens', () => {
  const random = randomFor(7, 'moments')
  for (const mean of [1, 4, 16, 256])
    for (const experts of [4, 64]) {
      const counts = Array.from({ length: 300 }, () => {
        const count = new Array<number>(experts).fill(0)
        for (let token = 0; token < mean * experts; token++) {
          const expert = random.integer(experts)
          count[expert] = (count[expert] ?? 0) + 1
        }
        return count
      })
      const series: RouterSeries = {
        ...routerWith([even]),
        info: { layer: 0, module: 'ffn', experts, prototypes: 1 },
        steps: counts.map((_, t) => t),
        tokens: (t, expert) => counts[t]?.[expert] ?? 0,
        dropRate: counts.map(() => 0.05),
      }
      expect([...expertMoments(series), ...dropMoments(series)], `${mean} tokens for each of ${experts}`).toEqual([])
    }
})

describe('drops', () => {
  const withDrops = (dropRate: readonly (number | null)[]) => routerWith([even, even], { dropRate })

  test('a rate of a tenth and twice the median is a moment', () => {
    expect(dropMoments(withDrops([0.1, 0.1, 0.4, 0.5, 0.1, 0.1, 0.1, 0.1]))).toMatchObject([
      {
        kind: 'drops',
        step: 30,
        text: 'Layer 2 drops 50 % of its choices',
        detail: 'at step 40; its median is 10 %; high until step 50',
      },
    ])
  })

  test.each([
    ['one snapshot', [0, 0, 0.5, 0, 0, 0, 0, 0]],
    ['a rate that is always high', [0.4, 0.4, 0.5, 0.5, 0.4, 0.4, 0.4, 0.4]],
    ['a small rate', [0.01, 0.01, 0.09, 0.09, 0.01, 0.01, 0.01, 0.01]],
    ['no rate at all', [null, null, null, null]],
  ])('%s is no moment', (_, rates) => {
    expect(dropMoments(withDrops(rates))).toEqual([])
  })
})

describe('held-out loss', () => {
  const held = (...value: number[]) => heldOutMoments({ step: value.map((_, i) => 100 * (i + 1)), value })

  test('half and nine tenths of the fall are moments', () => {
    expect(held(6, 5, 3.9, 3, 2.3, 2.1, 2)).toMatchObject([
      {
        step: 300,
        text: 'Held-out loss has fallen half of its way',
        detail: '3.900 nats a token, on the way from 6.000 to 2.000',
      },
      { step: 500, text: 'Held-out loss has fallen 90 % of its way' },
    ])
  })

  test('a value that is not kept is no milestone', () => {
    expect(held(6, 3, 5, 5, 4, 2.1, 2)[0]).toMatchObject({ step: 500 })
  })

  test('a lowest value that the end is above is a moment', () => {
    expect(held(6, 3, 2, 2.4, 2.5)).toContainEqual(
      expect.objectContaining({ step: 300, detail: '2.000 nats a token; 2.500 at step 500' }),
    )
    expect(held(6, 3, 2, 2.1, 2.05).map(({ text }) => text)).not.toContainEqual(expect.stringContaining('lowest'))
  })

  test('a loss that does not fall, and too few evaluations, have none', () => {
    expect(held(5, 5.01, 4.99, 5, 5)).toEqual([])
    expect(held(6, 2)).toEqual([])
    expect(held()).toEqual([])
    expect(held(Number.NaN, Number.NaN, Number.NaN)).toEqual([])
  })
})

describe('training loss', () => {
  const trained = (value: number[]) => trainingMoments({ step: value.map((_, i) => i + 1), value })
  const noisy = Array.from({ length: 60 }, (_, i) => 4 - 0.01 * i + 0.02 * (i % 3))

  test('a jump of two records is a moment, and a jump of one is not', () => {
    expect(trained(noisy.with(40, 9).with(41, 8))).toMatchObject([
      { step: 41, text: 'The training loss jumps to 9.00' },
    ])
    expect(trained(noisy.with(40, 9))).toEqual([])
    expect(trained(noisy)).toEqual([])
  })

  test('a loss that is not finite is a moment', () => {
    const value = [...noisy, Number.NaN, Number.NaN, Number.NaN]
    expect(trained(value)).toMatchObject([{ step: 61, text: 'The training loss is not finite' }])
  })
})

test('at most a dozen moments are shown, of all kinds, in order of steps', () => {
  const dying = Array.from({ length: 40 }, (_, expert) =>
    Array.from({ length: 100 }, (_, t) => (t < 2 * expert ? 1 : 0)),
  )
  const heldOut = { step: [10, 20, 30, 40, 50], value: [6, 4, 2, 1.5, 1] }
  const { shown, found } = findMoments({ routers: [routerWith(dying)], heldOut, training: { step: [], value: [] } })
  expect(found).toBeGreaterThan(30)
  expect(shown).toHaveLength(MAX_MOMENTS)
  expect(shown.map(({ step }) => step)).toEqual(shown.map(({ step }) => step).sort((a, b) => a - b))
  expect(new Set(shown.map(({ kind }) => kind))).toEqual(new Set(['death', 'overload', 'loss']))
  expect(shown.every((moment) => !('size' in moment))).toBe(true)
})

test('the rules in words have the thresholds', () => {
  const text = ruleTexts.join('\n')
  for (const part of [
    '2 snapshots',
    '2 times the fair share',
    'at most 2 %',
    '20 tokens',
    '10 %',
    '0.1 nats',
    'until there are 12',
  ])
    expect(text).toContain(part)
})
