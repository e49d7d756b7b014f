import fc from 'fast-check'
import { expect, test } from 'vitest'
import { randomFor } from '../../../core/random.ts'
import { typicalTokens } from '../../../use/infer/top-tokens.ts'
import { type Assignments, collectAssignments, type RouterChoices } from './assignments.ts'
import type { DocumentLabels } from './document-labels.ts'
import { specialisationOf } from './specialisation.ts'

const documents = 40
const perDocument = 100
const vocabulary = 20
const tokens = documents * perDocument
const random = randomFor(3, 'made up')
const token_P = Int32Array.from({ length: tokens }, () => 7 * random.integer(vocabulary))
const document_P = Int32Array.from({ length: tokens }, (_, i) => Math.floor(i / perDocument))
const about = { arm: 'made', seed: 0, source: 'nowhere', show: (token: number) => `<${token}>` }

const labels = (names: readonly string[], of: (document: number) => number): DocumentLabels => ({
  names,
  of: Int32Array.from({ length: documents }, (_, d) => of(d)),
})
/** Periods alternate from document to document; the party changes every four documents, and every fifth has none. */
const periods = labels(['early', 'late'], (d) => d % 2)
const parties = labels(['Whig', 'Federalist', 'other'], (d) => (d % 5 === 4 ? -1 : Math.floor(d / 4) % 3))
const none = labels([], () => -1)

const router = (choose: (i: number) => number, prototype = 0, layer = 0): RouterChoices => ({
  layer,
  prototype,
  experts: 4,
  k: 1,
  expert_PK: Int32Array.from({ length: tokens }, (_, i) => choose(i)),
})
const byChance = () => random.integer(4)

function specialised(routers: readonly RouterChoices[], labels = { periods, parties }) {
  const found = specialisationOf({ token_P, document_P, routers }, labels, about)
  const of = (name: string) => found.information.find((entry) => entry.of === name) as (typeof found.information)[0]
  return { ...found, year: of('year'), party: of('party'), token: of('token') }
}

test('one expert per period is found, with its periods', () => {
  const { year, party, experts } = specialised([router((i) => ((document_P[i] as number) % 2) * 2)])
  expect(year.nats).toBeCloseTo(Math.LN2, 12)
  expect(year.entropy).toBeCloseTo(Math.LN2, 12)
  expect(year.shuffled).toBeLessThan(0.1)
  expect(party.nats).toBeLessThan(0.1)
  expect(experts.map(({ share }) => share)).toEqual([0.5, 0, 0.5, 0])
  expect(experts.map(({ periods }) => periods)).toEqual([
    [2, 0],
    [0, 0],
    [0, 2],
    [0, 0],
  ])
})

test('one expert per kind of token is found, with its tokens', () => {
  const { token, year, experts } = specialised([router((i) => (token_P[i] as number) % 4)])
  expect(token.nats).toBeCloseTo(token.entropy, 12)
  expect(token.shuffled).toBeLessThan(0.02)
  expect(year.nats).toBeLessThan(0.01)
  for (const { expert, tokens } of experts) {
    expect(tokens.map(({ text }) => text).sort()).toEqual(
      Array.from({ length: vocabulary }, (_, v) => 7 * v)
        .filter((token) => token % 4 === expert)
        .map((token) => `<${token}>`)
        .sort(),
    )
    for (const { share, text, count } of tokens) {
      expect(share).toBe(1)
      expect(count).toBe(token_P.filter((token) => `<${token}>` === text).length)
    }
  }
})

test('random choices have no more information than shuffled labels', () => {
  const { year, party, token } = specialised([router(byChance), router(byChance, 0, 1)])
  // If labels and choices are independent, the bias is (labels − 1)(experts − 1) / 2n: (2 − 1)(4 − 1) / 2n for years.
  for (const [{ nats, shuffled }, labels] of [
    [year, 2],
    [party, 3],
    [token, vocabulary],
  ] as const) {
    const bias = ((labels - 1) * 3) / 2 / tokens
    expect(shuffled).toBeGreaterThan(bias / 2)
    expect(shuffled).toBeLessThan(bias * 2)
    expect(nats).toBeLessThan(bias * 3)
  }
})

test('information about a document is not mistaken for information about its party', () => {
  // One expert for each of four random groups of documents: information by chance is large.
  const group = Int32Array.from({ length: documents }, () => random.integer(4))
  const { party } = specialised([router((i) => group[document_P[i] as number] as number)])
  expect(party.nats).toBeGreaterThan(0.02)
  expect(party.nats).toBeLessThan(2.5 * party.shuffled)
})

test('each prototype is a separate variable, and information is the mean over them', () => {
  const first = router((i) => ((document_P[i] as number) % 2) * 2)
  const second = router(() => 1, 1)
  const { year, experts } = specialised([first, second])
  expect(year.nats).toBeCloseTo(Math.LN2 / 2, 12)
  expect(year.entropy).toBeCloseTo(Math.LN2 / 2, 12)
  expect(experts.map(({ expert }) => expert)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  expect(experts.map(({ share }) => share)).toEqual([0.25, 0, 0.25, 0, 0, 0.5, 0, 0])
})

test('dropped choices do not count', () => {
  const all = router((i) => ((document_P[i] as number) % 2) * 2)
  const half: RouterChoices = { ...all, expert_PK: all.expert_PK.map((e, i) => (i % 2 ? e : -1)) }
  const { year, experts } = specialised([half])
  expect(year.nats).toBeCloseTo(Math.LN2, 12)
  expect(experts[0]?.share).toBe(0.5)
  for (const { tokens } of experts) for (const { share } of tokens) expect(share).toBeLessThan(0.8)
})

test('shares of a layer sum to 1, and so do relative shares of a label, weighted by its share in the text', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = randomFor(seed, 'choices')
      const { experts, parties } = specialised([router((i) => (i % 3 ? random.integer(4) : -1))])
      expect(experts.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 12)
      expect(parties).toEqual(['Whig', 'Federalist', 'other'])
      const usual = [0, 0, 0]
      let labelled = 0
      for (const document of document_P) {
        const party = partyOf(document)
        if (party < 0) continue
        usual[party] = (usual[party] as number) + 1
        labelled++
      }
      for (const { parties } of experts)
        expect(parties.reduce((sum, above, p) => sum + (above * (usual[p] as number)) / labelled, 0)).toBeCloseTo(1, 9)
    }),
    { numRuns: 10 },
  )
})
const partyOf = (document: number): number => parties.of[document] as number

test('documents without year and party give information about tokens only', () => {
  const { information, experts, periods, parties } = specialised([router(byChance)], { periods: none, parties: none })
  expect(information.map(({ of }) => of)).toEqual(['token'])
  expect([periods, parties]).toEqual([[], []])
  for (const expert of experts) expect([expert.periods, expert.parties]).toEqual([[], []])
})

test('a single occurrence does not make a rare token typical of an expert', () => {
  // Token 0 is common and favours expert 0; token 1 occurs once, with expert 0; token 2 favours neither expert.
  const counts = Float64Array.from([900, 100, 1, 0, 500, 500, 100, 900])
  const [first] = typicalTokens({ rows: 4, columns: 2, counts }, 10)
  expect(first?.map(({ token }) => token)).toEqual([0])
})

test('a trace is collected by token, without padding and attention routers, with experts numbered by prototype and drops marked', async () => {
  const batch = {
    windows: [{ document: 4, start: 0, length: 2 }],
    token_T: Int32Array.of(10, 11, 10),
    document_T: Int32Array.of(4, 4, -1),
    loss: 0,
    routers: [
      {
        layer: 3,
        module: 'qkv' as const,
        experts: 1,
        prototypes: 1,
        expert_TK: new Int32Array(3),
        gate_TK: new Float32Array(3),
        kept_TK: new Uint8Array(3).fill(1),
        entropy_T: null,
      },
      {
        layer: 3,
        module: 'ffn' as const,
        experts: 4,
        prototypes: 2,
        expert_TK: Int32Array.of(0, 3, 1, 2, 0, 3),
        gate_TK: new Float32Array(6),
        kept_TK: Uint8Array.of(1, 1, 0, 1, 1, 1),
        entropy_T: null,
      },
    ],
  }
  async function* batches() {
    yield batch
    yield batch
  }
  expect(await collectAssignments(batches(), 4)).toEqual({
    token_P: Int32Array.of(10, 11, 10, 11),
    document_P: Int32Array.of(4, 4, 4, 4),
    routers: [
      { layer: 3, prototype: 0, experts: 2, k: 1, expert_PK: Int32Array.of(0, -1, 0, -1) },
      { layer: 3, prototype: 1, experts: 2, k: 1, expert_PK: Int32Array.of(1, 0, 1, 0) },
    ],
  } satisfies Assignments)
  await expect(collectAssignments(batches(), 5)).rejects.toThrow('internal: a trace of 5 tokens gave 4')
})
