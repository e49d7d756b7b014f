/** The pictures of docs/findings.md against the stored records, which are read here in plain loops. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { beforeAll, describe, expect, test } from 'vitest'
import { element } from '../../../src/tools/report/markup.ts'
import { parseXml } from '../../../src/tools/report/testing/parse-xml.ts'
import { boxOf, textsOutside } from '../../../src/tools/report/testing/text-box.ts'
import type { FinishedRun } from '../../../src/tools/study/contract.ts'
import { fileIn } from '../../support/results.ts'
import type { ShownClaims } from './claims.ts'
import { claimsBody } from './claims-figure.ts'
import { type MapPanel, mapBody } from './map-figure.ts'
import { type Findings, findingsInResults, type Picture, picturesOf } from './pictures.ts'

let found: Findings
let drawn: Picture[]
beforeAll(async () => {
  found = await findingsInResults()
  drawn = picturesOf(found)
})

test('the committed pictures are what npx tsx bench/studies/findings.ts makes from the committed results', () => {
  expect(drawn).toHaveLength(4)
  for (const { file, svg } of drawn) expect(readFileSync(fileIn(file), 'utf8') === svg, file).toBe(true)
})

test('every text of a picture is inside its edges', () => {
  for (const { file, svg } of drawn) expect(textsOutside(parseXml(svg)), file).toEqual([])
})

test('no two texts of a picture overlap', () => {
  for (const { file, svg } of drawn) {
    const texts = parseXml(svg).filter(({ name }) => name === 'text')
    const boxes = texts.map((element) => ({ text: element.text, box: boxOf(element) }))
    const overlaps = boxes.flatMap(({ text, box: a }, i) =>
      boxes
        .slice(i + 1)
        .filter(({ box: b }) => Math.min(a[2], b[2]) - Math.max(a[0], b[0]) > 2)
        .filter(({ box: b }) => Math.min(a[3], b[3]) - Math.max(a[1], b[1]) > 3)
        .map((other) => `${text} | ${other.text}`),
    )
    expect(overlaps, file).toEqual([])
  }
})

const recordsOf = (study: string): FinishedRun[] =>
  JSON.parse(gunzipSync(readFileSync(fileIn(`docs/results/${study}/results.json.gz`))).toString()).records.filter(
    ({ status }: FinishedRun) => status === 'finished',
  )

type Model = FinishedRun['config']['model']
type IsArm = (moe: NonNullable<Model['moe']>) => boolean

/** Differences in loss at the capacity of training, arm minus baseline, by seed: of the longest trainings of a width. */
function differencesIn(study: string, width: number, baseline: IsArm | null, arm: IsArm): number[] {
  const is = ({ moe }: Model, which: IsArm | null) => (which === null ? moe === null : moe !== null && which(moe))
  const ofWidth = recordsOf(study).filter(({ config: { model } }) => model.width === width)
  const longest = Math.max(...ofWidth.map(({ config }) => config.train.steps))
  const own = ofWidth.filter(({ config }) => config.train.steps === longest).toSorted((a, b) => a.seed - b.seed)
  return own
    .filter(({ config }) => is(config.model, arm))
    .flatMap((run) => {
      const paired = own.filter(
        ({ seed, config: { model } }) =>
          seed === run.seed && is(model, baseline) && (model.moe || model.hidden === 2 * width),
      )
      return paired.map((other) => run.heldOut.capacities.train.loss - other.heldOut.capacities.train.loss)
    })
}

/** Two-sided 5 % points of Student's t, from a table, by degrees of freedom. */
const student: Readonly<Record<number, number>> = { 2: 4.302653, 3: 3.182446, 7: 2.364624 }

function intervalOf(values: readonly number[]): { mean: number; low: number; high: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1)
  const half = (student[values.length - 1] ?? Number.NaN) * Math.sqrt(variance / values.length)
  return { mean, low: mean - half, high: mean + half }
}

const topK =
  (k: number): IsArm =>
  ({ router, k: own, capacity, balance, attention }) =>
    router === 'top-k' && own === k && capacity === 'none' && balance.coefficient > 0 && attention === 'none'
const oneWithLimit: IsArm = ({ router, k, capacity, balance }) =>
  router === 'top-k' && k === 1 && capacity === 'kx' && balance.coefficient > 0
const twoPrototypes: IsArm = ({ router, prototypes, capacity }) =>
  router === 'prototype' && prototypes === 2 && capacity === '1x'

describe('effects are differences of the stored losses with the interval of Student', () => {
  const pay = 'Routing beats a dense model'
  const cost = 'Prototypes help at constant cost'
  test.each([
    { name: pay, set: 0, study: 'm6t-quick', width: 32, baseline: null, arm: topK(1) },
    { name: pay, set: 1, study: 'quick-seeds', width: 32, baseline: null, arm: topK(1) },
    { name: pay, set: 2, study: 'm6t-quick', width: 48, baseline: null, arm: topK(1) },
    { name: 'More activated experts help', set: 1, study: 'quick-seeds', width: 32, baseline: topK(1), arm: topK(2) },
    { name: cost, set: 0, study: 'm6t-quick', width: 32, baseline: oneWithLimit, arm: twoPrototypes },
    { name: cost, set: 2, study: 'm6t-quick', width: 48, baseline: oneWithLimit, arm: twoPrototypes },
    { name: pay, set: 3, study: 'claims', width: 48, baseline: null, arm: topK(1) },
    { name: cost, set: 3, study: 'claims', width: 48, baseline: oneWithLimit, arm: twoPrototypes },
    { name: cost, set: 4, study: 'claims', width: 96, baseline: oneWithLimit, arm: twoPrototypes },
    { name: pay, set: 5, study: 'claims-size', width: 160, baseline: null, arm: topK(1) },
    { name: cost, set: 5, study: 'claims-size', width: 160, baseline: oneWithLimit, arm: twoPrototypes },
  ])('$name in set $set', ({ name, set, study, width, baseline, arm }) => {
    const effect = found.claims.claims.find((claim) => claim.name === name)?.effects.find((one) => one.set === set)
    const expected = intervalOf(differencesIn(study, width, baseline, arm))
    for (const part of ['mean', 'low', 'high'] as const) expect(effect?.[part]).toBeCloseTo(expected[part], 5)
  })
})

test('the trend with size with more text is the slope of the differences over the logarithm of the parameters', () => {
  const widths = [48, 96, 160]
  const parameters = widths.map((width) => {
    const is = ({ config: { model } }: FinishedRun) =>
      model.width === width && model.moe !== null && twoPrototypes(model.moe)
    return recordsOf('claims-size').find(is)?.parameters ?? Number.NaN
  })
  const x = parameters.map((count) => Math.log2(count))
  const centre = x.reduce((a, b) => a + b) / 3
  const spread = x.reduce((sum, value) => sum + (value - centre) ** 2, 0)
  const differences = widths.map((width) => differencesIn('claims-size', width, oneWithLimit, twoPrototypes))
  const slopes = [0, 1, 2, 3].map((seed) =>
    x.reduce((sum, value, i) => sum + ((value - centre) / spread) * (differences[i]?.[seed] ?? Number.NaN), 0),
  )
  const effect = found.claims.claims
    .find(({ name }) => name === 'Prototypes gain with size')
    ?.effects.find(({ set }) => set === 5)
  const expected = intervalOf(slopes)
  for (const part of ['mean', 'low', 'high'] as const) expect(effect?.[part]).toBeCloseTo(expected[part], 6)
})

test('claims are in the order of the table in docs/findings.md', () => {
  const table = readFileSync(fileIn('docs/findings.md'), 'utf8').split('## Claim by claim')[1] ?? ''
  const places = ['Routing beats', 'More activated', 'Capacity matters', 'k top-1 beats', 'Prototypes help']
    .concat('The gain of prototypes', 'Prototypes converge', 'Load imbalance', 'MoE attention', 'Learned routing')
    .map((words) => table.indexOf(`| ${words}`))
  expect(places).toEqual(places.toSorted((a, b) => a - b))
  expect(places).not.toContain(-1)
  expect(found.claims.claims.map(({ name }) => name)).toEqual([
    'Routing beats a dense model',
    'More activated experts help',
    'Capacity matters',
    'k top-1 beats top-k',
    'Prototypes help at constant cost',
    'Prototypes gain with size',
    'Prototypes converge faster',
    'Imbalance does not matter',
    'MoE attention harms',
    'Learned routing beats hashing',
  ])
})

/** One claim about an effect below zero. */
const claimOf = (mean: number, more: object = {}): ShownClaims['claims'][number] => ({
  name: `effect ${mean}`,
  statement: 'An arm is better',
  paper: 'a paper',
  about: 'an arm against another',
  region: { low: -Infinity, high: 0 },
  inNats: true,
  isRatio: false,
  effects: [
    {
      set: 0,
      mean,
      low: mean - 0.01,
      high: mean + 0.01,
      answer: 'undecided',
      answerText: 'undecided',
      value: '',
      interval: '',
    },
  ],
  controls: [],
  ...more,
})

const drawnClaims = (...claims: ShownClaims['claims']) =>
  parseXml(element('svg', {}, claimsBody({ sets: ['a'], claims, margin: 0.02, tested: 10 }, 800).markup).text)

test('the tint of a claim ends at zero, and the margin is as wide on both sides of it', () => {
  const rectangles = drawnClaims(claimOf(-0.1), claimOf(0.1)).filter(
    ({ name, attributes }) => name === 'rect' && Number(attributes.height) > 12,
  )
  const zero = Number(drawnClaims(claimOf(-0.1)).find(({ attributes }) => attributes.class === 'zero')?.attributes.x1)
  const [margin, claimed] = rectangles.map(({ attributes }) => [
    Number(attributes.x),
    Number(attributes.x) + Number(attributes.width),
  ])
  expect(claimed?.[1]).toBeCloseTo(zero, 1)
  expect((margin?.[0] ?? 0) + (margin?.[1] ?? 0)).toBeCloseTo(2 * zero, 1)
})

test('an effect far beyond all others is an arrow at the edge and does not shrink them', () => {
  const near = [claimOf(-0.1), claimOf(0.08)]
  const marksOf = (...claims: ShownClaims['claims']) =>
    drawnClaims(...claims).filter(({ attributes }) => attributes.class === 'mean open' && attributes.transform)
  const places = marksOf(...near).map(({ attributes }) => attributes.transform?.split(' ')[0])
  expect(marksOf(...near, claimOf(0.9)).map(({ attributes }) => attributes.transform?.split(' ')[0])).toEqual(places)
})

test('a ratio has ticks of its own and no margin in nats', () => {
  const ratio = drawnClaims(claimOf(0.1), claimOf(0.1, { inNats: false, isRatio: true }))
  expect(ratio.filter(({ text }) => /^×[01]\.\d/.test(text)).length).toBeGreaterThan(2)
  const zones = ratio.filter(({ name, attributes }) => name === 'rect' && Number(attributes.height) > 12)
  expect(zones.map(({ attributes }) => attributes.class)).toEqual(['margin', 'claimed', 'back', 'claimed'])
})

describe('the map', () => {
  test('has the mean gain of the stored losses at every length, in a panel for each size with results', () => {
    const records = recordsOf('map')
    const widths = new Map(records.map(({ config: { model } }) => [model.width, model]))
    expect(found.panels.length).toBeGreaterThan(0)
    expect(found.panels.length).toBeLessThanOrEqual(widths.size)
    const [first] = found.panels
    const eight = first?.lines.find(({ experts }) => experts === 8)
    const own = records.filter(({ config: { model } }) => model.width === Math.min(...widths.keys()))
    for (const { tokens, estimate } of eight?.points ?? []) {
      const at = own.filter((run) => run.tokens === tokens)
      const sparse = at.filter(({ config }) => config.model.moe?.experts === 8)
      const gaps = sparse.flatMap((run) =>
        at
          .filter(({ seed, config }) => seed === run.seed && config.model.moe === null)
          .map((dense) => run.heldOut.capacities.none.loss - dense.heldOut.capacities.none.loss),
      )
      expect(gaps).toHaveLength(estimate.n)
      expect(estimate.mean).toBeCloseTo(gaps.reduce((a, b) => a + b, 0) / gaps.length, 6)
    }
  })

  const line = (
    experts: number,
    gains: readonly number[],
    n: number,
    intervals?: 'anytime',
  ): MapPanel['lines'][number] => ({
    active: 1000,
    experts,
    parameters: 5000,
    points: gains.map((gain, i) => ({
      tokens: 1000 * 2 ** i,
      estimate: { n, mean: -gain, interval: [-gain - 0.1, -gain + 0.1], p: null, ...(intervals && { intervals }) },
    })),
  })
  const elementsOf = (...panels: MapPanel[]) => parseXml(element('svg', {}, mapBody(panels, 800).markup).text)

  test('rings break-even on the line of the dense model, halfway between two lengths with opposite gains', () => {
    const all = elementsOf({ title: 'small', lines: [line(2, [-0.1, 0.1], 4)] })
    const ring = all.find(({ attributes }) => /^ring/.test(attributes.class ?? ''))
    const dense = all.find(({ attributes }) => /^line s0/.test(attributes.class ?? ''))
    const [x1, y, x2] = (dense?.attributes.d?.match(/[\d.]+/g) ?? []).map(Number)
    expect(Number(ring?.attributes.cx)).toBeCloseTo(((x1 ?? 0) + (x2 ?? 0)) / 2, 0)
    expect(Number(ring?.attributes.cy)).toBeCloseTo(y ?? 0, 0)
    expect(all.some(({ text }) => text === 'Break-even by the mean over seeds: 2 experts at 1.41.')).toBe(true)
  })

  test('has gains above the line of the dense model, within their band', () => {
    const all = elementsOf({ title: 'small', lines: [line(2, [0.3, 0.3], 4)] })
    const heights = (look: RegExp) => {
      const d = all.find(({ attributes }) => look.test(attributes.class ?? ''))?.attributes.d ?? ''
      return [...d.matchAll(/,(-?[\d.]+)/g)].map(([, y]) => Number(y))
    }
    const [[dense = 0], [gain = 0], band] = [heights(/^line s0/), heights(/^line s1/), heights(/^band/)]
    expect(gain).toBeLessThan(dense)
    expect(gain).toBeCloseTo((Math.min(...band) + Math.max(...band)) / 2, 0)
  })

  test('has a band from four seeds on', () => {
    const bands = (seeds: number) =>
      elementsOf({ title: 'small', lines: [line(2, [-0.1, 0.1], seeds)] }).filter(({ attributes }) =>
        /^band/.test(attributes.class ?? ''),
      ).length
    expect([1, 2, 3, 4, 5].map(bands)).toEqual([0, 0, 0, 1, 1])
  })

  test('explains anytime intervals if a band shows some', () => {
    const isExplained = (seeds: number, intervals?: 'anytime') =>
      elementsOf({ title: 'small', lines: [line(2, [-0.1, 0.1], seeds, intervals)] }).some(({ text }) =>
        text.startsWith('Anytime: this 95 % interval'),
      )
    expect([isExplained(4, 'anytime'), isExplained(3, 'anytime'), isExplained(4)]).toEqual([true, false, false])
  })

  test('has the same axes in all panels', () => {
    const all = elementsOf(
      { title: 'small', lines: [line(2, [-0.1, 0.1], 4)] },
      { title: 'large', lines: [line(2, [0.2, 0.4, 0.5], 4)] },
    )
    const labels = all.filter(({ attributes }) => attributes.class === 'small').map(({ text }) => text)
    for (const label of new Set(labels)) expect(labels.filter((one) => one === label).length % 2, label).toBe(0)
  })
})
