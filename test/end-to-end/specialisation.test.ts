/** Training a little on addresses with a year and a party, then asking who serves what. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { presets } from '../../src/config/presets.ts'
import { type RunInput, runSchema } from '../../src/config/run-config.ts'
import { temporaryFolder } from '../../src/data/testing/temporary-folder.ts'
import type { Specialisation } from '../../src/study/contract.ts'
import { specialisation } from '../../src/study/specialisation/specialisation.ts'
import { train } from '../../src/train/train.ts'

const { make } = temporaryFolder()
const folder = make()
const limit = 30_000

async function trained(name: string, moe: NonNullable<RunInput['model']>['moe']) {
  const { model, train: settings } = presets.tiny.config
  const config = runSchema.parse({
    model: { ...model, moe: moe && { ...model.moe, ...moe } },
    data: { source: 'sotu', cache: join(folder, 'cache') },
    train: { ...settings, steps: 30 },
    runtime: { threads: 2 },
  })
  const directory = join(folder, name)
  await train(config, { directory, resume: false })
  return directory
}

const learned = { router: 'prototype', prototypes: 2, k: 1 } as const
let run: string
let found: Specialisation
beforeAll(async () => {
  run = await trained('learned', learned)
  found = await specialisation(run, { arm: 'learned', tokens: limit })
}, 60_000)

const informationOf = ({ information }: Specialisation, what: string) =>
  information.find(({ of }) => of === what) as Specialisation['information'][number]

test('periods, parties and experts are all there, and every number is finite', () => {
  expect(found).toMatchObject({ arm: 'learned', seed: 0, source: 'sotu' })
  expect(found.tokens).toBeGreaterThan(0.75 * limit)
  expect(found.tokens).toBeLessThanOrEqual(limit)
  expect(found.periods).toEqual([
    '1775–1799',
    '1800–1824',
    '1825–1849',
    '1850–1874',
    '1875–1899',
    '1900–1924',
    '1925–1949',
    '1950–1974',
    '1975–1999',
    '2000–2024',
  ])
  expect(found.parties).toEqual(['Republican', 'Democratic', 'Democratic-Republican', 'none', 'other'])
  expect(found.information.map(({ of }) => of)).toEqual(['year', 'party', 'token'])
  for (const { nats, shuffled, entropy } of found.information) {
    expect(Number.isFinite(shuffled)).toBe(true)
    expect(nats).toBeGreaterThan(0)
    expect(nats).toBeLessThanOrEqual(entropy)
  }
  expect(found.experts.map(({ layer, expert }) => [layer, expert])).toEqual(
    [0, 1].flatMap((layer) => [0, 1, 2, 3].map((expert) => [layer, expert])),
  )
  for (const { share, tokens, periods, parties } of found.experts) {
    expect([periods.length, parties.length]).toEqual([10, 5])
    expect([share, ...periods, ...parties].every((value) => Number.isFinite(value) && value >= 0)).toBe(true)
    for (const { text, count, share } of tokens) {
      expect(text).not.toBe('')
      expect(Number.isInteger(count)).toBe(true)
      expect(share > 0 && share <= 1).toBe(true)
    }
  }
  for (const layer of [0, 1]) {
    const shares = found.experts.filter((expert) => expert.layer === layer).map(({ share }) => share)
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12)
  }
})

test('a learned router looks at tokens far more than chance would', () => {
  const { nats, shuffled } = informationOf(found, 'token')
  expect(nats).toBeGreaterThan(5 * shuffled)
  expect(found.experts.some(({ tokens }) => tokens.length > 0)).toBe(true)
})

test('the same run asked twice gives the same answer', async () => {
  expect(await specialisation(run, { arm: 'learned', tokens: limit })).toEqual(found)
})

test('a hash router tells of the token all that it is: the entropy of its experts', async () => {
  const hash = await specialisation(await trained('hash', { router: 'hash' }), { arm: 'hash', tokens: limit })
  const { nats, entropy } = informationOf(hash, 'token')
  expect(entropy).toBeGreaterThan(0.9 * Math.log(4))
  expect(Math.abs(nats - entropy)).toBeLessThan(1e-12)
  for (const { tokens } of hash.experts) expect(tokens.length).toBeGreaterThan(0)
})

test('a random router tells what chance tells', async () => {
  const directory = await trained('random', { router: 'random', capacity: 'none' })
  const chance = await specialisation(directory, { arm: 'random', tokens: limit })
  const token = informationOf(chance, 'token')
  expect(Math.abs(token.nats / token.shuffled - 1)).toBeLessThan(0.1)
  for (const of of ['year', 'party']) {
    const { nats, shuffled } = informationOf(chance, of)
    expect(nats).toBeLessThan(3 * shuffled)
  }
})

test('text without year and party gives tokens alone', async () => {
  const file = join(folder, 'plain.txt')
  writeFileSync(file, 'It was the best of times, it was the worst of times.\n\n'.repeat(100))
  const { source, information, periods, parties } = await specialisation(run, { arm: 'learned', source: file })
  expect(source).toBe(file)
  expect([periods, parties]).toEqual([[], []])
  expect(information.map(({ of }) => of)).toEqual(['token'])
})

test('a dense model is refused', async () => {
  const directory = await trained('dense', null)
  await expect(specialisation(directory, { arm: 'dense' })).rejects.toThrow(/dense/)
})
