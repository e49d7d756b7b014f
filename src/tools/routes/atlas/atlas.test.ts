import { expect, test } from 'vitest'
import { randomFor } from '../../../core/random.ts'
import type { RecordedRouter, RoutedToken } from '../../../node/routes/format.ts'
import { type Made, madeHeader, madeRouter } from '../../../node/routes/testing/made-record.ts'
import { atlasOf } from './atlas.ts'
import type { Atlas, ExpertAtlas } from './contract.ts'
import { tokenShares } from './token-share.ts'

const random = randomFor(11, 'atlas')
const VOCABULARY = 30
const DOCUMENTS = 40
const PER_DOCUMENT = 100

type Choose = (token: number, document: number) => readonly number[]

/** Tokens at random, and the experts that routers choose for them. */
function made(choose: readonly Choose[], routers: readonly RecordedRouter[], rest: Partial<Made> = {}): Made {
  const tokens = Array.from({ length: DOCUMENTS * PER_DOCUMENT }, (_, i): RoutedToken => {
    const [document, token] = [Math.floor(i / PER_DOCUMENT), random.integer(VOCABULARY)]
    const routes = choose.map((of) => {
      const experts = of(token, document)
      return { experts, gates: experts.map(() => 0.5), entropy: 1, dropped: [] }
    })
    return { document, position: i % PER_DOCUMENT, token, text: `<${token}>`, routes }
  })
  return { routers, tokens, ...rest }
}

const atlasFor = (given: Made): Promise<Atlas> =>
  atlasOf({
    header: madeHeader(given),
    async *tokens() {
      yield* given.tokens
    },
  })

const expertOf = ({ routers }: Atlas, expert: number, router = 0) => routers[router]?.of[expert] as ExpertAtlas

/** Two different experts at random. */
const anyTwo: Choose = () => {
  const first = random.integer(4)
  return [first, (first + 1 + random.integer(3)) % 4]
}
const anyOne: Choose = () => [random.integer(4)]

test('a router that reads the token alone has a token share of 1, for any k; one that reads nothing has 0', async () => {
  const one = madeRouter({})
  const two = madeRouter({ choices: 2 })
  const byToken: Choose = (token) => [token % 4, (token + 1 + (token % 3)) % 4]
  const { routers } = await atlasFor(made([(token) => [token % 3], byToken, anyOne, anyTwo], [one, two, one, two]))
  expect(routers.map(({ token_share }) => token_share)).toEqual([
    expect.closeTo(1, 12),
    expect.closeTo(1, 12),
    expect.closeTo(0, 1),
    expect.closeTo(0, 1),
  ])
  expect(Math.abs(routers[2]?.token_share as number)).toBeLessThan(0.01)
})

test('a token that occurs once decides nothing', () => {
  // Every token has its own expert, but each occurs once: this is no evidence.
  const counts = Array.from({ length: 20 }, (_, kind) => [1 - (kind % 2), kind % 2]).flat()
  expect(tokenShares({ columns: 2, counts }, Array(20).fill(1)).share).toBeNull()
})

test('half of the occurrences at random gives a share between, by hand', () => {
  // Token 0 (100 times) always has expert 0, token 1 (100 times) either of both: H = h(1/4), left = h(1/2) / 2.
  const h = (p: number) => -p * Math.log(p) - (1 - p) * Math.log(1 - p)
  const { share } = tokenShares({ columns: 2, counts: [100, 0, 50, 50] }, [100, 100])
  expect(share).toBeCloseTo((h(1 / 4) - h(1 / 2) / 2) / h(1 / 4), 2)
})

test('the information by chance is that of shuffled tokens', () => {
  const occurrences = [1, 1, 2, 3, 7, 20, 66]
  const kinds = occurrences.flatMap((n, kind) => Array<number>(n).fill(kind))
  const expert = kinds.map((_, i): number => (i < 30 ? 0 : 1))
  let sum = 0
  const rounds = 1500
  for (let round = 0; round < rounds; round++) {
    const counts = Array<number>(14).fill(0)
    for (let i = expert.length - 1; i > 0; i--) {
      const j = random.integer(i + 1)
      ;[expert[i], expert[j]] = [expert[j] as number, expert[i] as number]
    }
    for (const [i, kind] of kinds.entries()) {
      const at = 2 * kind + (expert[i] as number)
      counts[at] = (counts[at] as number) + 1
    }
    sum += tokenShares({ columns: 2, counts }, occurrences).share as number
  }
  // The mean of the adjusted share is 0; its deviation here is about 0.06.
  expect(Math.abs(sum / rounds)).toBeLessThan(0.006)
})

test('shares and loads count tokens, and dead experts are named', async () => {
  // Expert 3 is never chosen; expert 0 has the tokens 0 to 14, expert 1 the tokens 15 to 29.
  const atlas = await atlasFor(made([(token) => [token < 15 ? 0 : 1]], [madeRouter({})]))
  const [first, second] = [expertOf(atlas, 0), expertOf(atlas, 1)]
  expect(first.tokens + second.tokens).toBe(4000)
  expect(first.share).toBe(first.tokens / 4000)
  expect(first.load).toBeCloseTo(4 * first.share, 12)
  expect(first.interval?.[0]).toBeLessThan(first.share)
  expect(first.interval?.[1]).toBeGreaterThan(first.share)
  // The deviation of a share of 4,000 independent tokens is 0.0079, so its interval is about 0.031 wide.
  expect((first.interval?.[1] as number) - (first.interval?.[0] as number)).toBeCloseTo(0.031, 1)
  expect(atlas.routers[0]?.dead).toEqual([2, 3])
  expect(expertOf(atlas, 3)).toMatchObject({ tokens: 0, share: 0, load: 0, gate_mean: null, top: [], partners: [] })
})

test('the lift of a token is its share over the share of all tokens', async () => {
  // Token 7 goes to expert 2 always, all other tokens to expert 0 or 1.
  const atlas = await atlasFor(made([(token) => [token === 7 ? 2 : token % 2]], [madeRouter({})]))
  const [top, ...others] = expertOf(atlas, 2).top
  const seven = top?.tokens as number
  expect(top).toMatchObject({ token: 7, text: '<7>', share: 1, lift: expect.closeTo(4000 / seven, 10) })
  expect(others).toEqual([])
  // Every draw has all of its sevens at expert 2, so only the share of sevens varies.
  expect(top?.interval?.[0]).toBeLessThan(4000 / seven)
  expect(top?.interval?.[1]).toBeGreaterThan(4000 / seven)
})

test('domains have the lift that was planted, and their imbalance', async () => {
  // In `code` expert 0 takes 3 of 4 tokens, in `text` 1 of 4; the rest goes to expert 1.
  const isCode = (document: number) => document % 2 === 0
  let turn = 0
  const choose: Choose = (_, document) => [turn++ % 4 < 1 === isCode(document) ? 1 : 0]
  const given = made([choose], [madeRouter({ experts: 2 })], { domainOf: (d) => (isCode(d) ? 'code' : 'text') })
  const atlas = await atlasFor(given)
  expect(atlas.domains).toEqual([
    { name: 'code', documents: 20, tokens: 2000 },
    { name: 'text', documents: 20, tokens: 2000 },
  ])
  expect(expertOf(atlas, 0).domains).toMatchObject([
    { name: 'code', tokens: 1500, share: 0.75, lift: 1.5 },
    { name: 'text', tokens: 500, share: 0.25, lift: 0.5 },
  ])
  // Loads of 1,500 and 500: a deviation of 500 over a mean of 1,000.
  expect(atlas.routers[0]?.domain_load_cv).toEqual([0.5, 0.5])
  expect(atlas.routers[0]?.load_cv).toBe(0)
})

test('experts that are chosen for the same tokens are duplicates', async () => {
  const always: Choose = (token) => (token % 2 ? [0, 1] : [2, 3])
  const { routers } = await atlasFor(made([always, anyTwo], [madeRouter({ choices: 2 }), madeRouter({ choices: 2 })]))
  expect(routers[0]?.duplicates).toEqual([
    { experts: [0, 1], jaccard: 1 },
    { experts: [2, 3], jaccard: 1 },
  ])
  expect(routers[1]?.duplicates).toEqual([])
})

test('partners have the lift over chance, with pairs at random at 1', async () => {
  // Four experts, two a token: by chance a pair has a sixth of the tokens. The pair of a token is its own in half of
  // the cases, so the pairs 0-1 and 2-3 have 1/12 + 1/4 = 1/3, twice as many.
  const choose: Choose = (token, document) =>
    random.integer(2) ? anyTwo(token, document) : token % 2 ? [0, 1] : [2, 3]
  const router = madeRouter({ choices: 2 })
  const atlas = await atlasFor(made([choose, anyTwo], [router, router]))
  const [partner] = expertOf(atlas, 0).partners
  expect(partner?.expert).toBe(1)
  expect(partner?.lift).toBeCloseTo(2, 0)
  expect(partner?.interval?.[0]).toBeGreaterThan(1.7)
  for (const { partners } of atlas.routers[1]?.of ?? [])
    for (const { lift } of partners) expect(Math.abs(lift - 1)).toBeLessThan(0.15)
})

test('drops, gates and entropies are means over the tokens of an expert', async () => {
  const routes = (token: number): RoutedToken['routes'] => [
    { experts: [token % 2], gates: [token % 2 ? 0.25 : 0.75], entropy: Math.log(4) / 2, dropped: token % 4 ? [] : [0] },
  ]
  const tokens = Array.from(
    { length: 40 },
    (_, i): RoutedToken => ({ document: 0, position: i, token: i % 4, text: 'a', routes: routes(i % 4) }),
  )
  const atlas = await atlasFor({ routers: [madeRouter({})], tokens })
  expect(expertOf(atlas, 0)).toMatchObject({ tokens: 20, drop_rate: 0.5, gate_mean: 0.75, interval: null })
  expect(expertOf(atlas, 1)).toMatchObject({ tokens: 20, drop_rate: 0, gate_mean: 0.25 })
  expect(atlas.routers[0]).toMatchObject({ drop_rate: 0.25, entropy_share: expect.closeTo(0.5, 10) })
})

test('intervals of lifts hold the true lift about as often as they say', async () => {
  // Documents differ: expert 0 takes a share of each that is drawn from 0.4 to 0.8 in `a`, and from 0 to 0.4 in `b`.
  // So its true lift in `a` is 0.6 / 0.4.
  let covered = 0
  const rounds = 100
  for (let round = 0; round < rounds; round++) {
    const shares = Array.from({ length: DOCUMENTS }, (_, d) => (d % 2 ? 0 : 0.4) + (0.4 * random.integer(1e6)) / 1e6)
    const tokens = Array.from({ length: DOCUMENTS * 20 }, (_, i): RoutedToken => {
      const document = i % DOCUMENTS
      const expert = random.integer(1e6) / 1e6 < (shares[document] as number) ? 0 : 1
      return {
        document,
        position: i,
        token: 0,
        text: 'a',
        routes: [{ experts: [expert], gates: [1], entropy: 0, dropped: [] }],
      }
    })
    const given = { routers: [madeRouter({ experts: 2 })], tokens, domainOf: (d: number) => (d % 2 ? 'b' : 'a') }
    const [low = 0, high = 0] = expertOf(await atlasFor(given), 0).domains[0]?.interval ?? []
    if (low <= 1.5 && high >= 1.5) covered++
  }
  // 95 % of 100, less three deviations.
  expect(covered).toBeGreaterThanOrEqual(88)
  expect(covered).toBeLessThan(rounds)
})
