/**
 * Short trainings on addresses with a year and a party, and the specialisation of their experts.
 *
 * @slow
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { presets } from '../../src/core/config/presets.ts'
import { type RunInput, runSchema } from '../../src/core/config/run-config.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { train } from '../../src/node/train/train.ts'
import type { Specialisation } from '../../src/tools/study/contract.ts'
import { specialisation } from '../../src/tools/study/specialisation/specialisation.ts'

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
let result: Specialisation
beforeAll(async () => {
  run = await trained('learned', learned)
  result = await specialisation(run, { arm: 'learned', tokens: limit })
}, 60_000)

const informationOf = ({ information }: Specialisation, what: string) =>
  information.find(({ of }) => of === what) as Specialisation['information'][number]

test('the result has all periods, parties and experts, and every number is finite', () => {
  expect(result).toMatchObject({ arm: 'learned', seed: 0, source: 'sotu' })
  expect(result.tokens).toBeGreaterThan(0.75 * limit)
  expect(result.tokens).toBeLessThanOrEqual(limit)
  expect(result.periods).toEqual([
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
  expect(result.parties).toEqual(['Republican', 'Democratic', 'Democratic-Republican', 'none', 'other'])
  expect(result.information.map(({ of }) => of)).toEqual(['year', 'party', 'token'])
  for (const { nats, shuffled, entropy } of result.information) {
    expect(Number.isFinite(shuffled)).toBe(true)
    expect(nats).toBeGreaterThan(0)
    expect(nats).toBeLessThanOrEqual(entropy)
  }
  expect(result.experts.map(({ layer, expert }) => [layer, expert])).toEqual(
    [0, 1].flatMap((layer) => [0, 1, 2, 3].map((expert) => [layer, expert])),
  )
  for (const { share, tokens, periods, parties } of result.experts) {
    expect([periods.length, parties.length]).toEqual([10, 5])
    expect([share, ...periods, ...parties].every((value) => Number.isFinite(value) && value >= 0)).toBe(true)
    for (const { text, count, share } of tokens) {
      expect(text).not.toBe('')
      expect(Number.isInteger(count)).toBe(true)
      expect(share > 0 && share <= 1).toBe(true)
    }
  }
  for (const layer of [0, 1]) {
    const shares = result.experts.filter((expert) => expert.layer === layer).map(({ share }) => share)
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12)
  }
})

test('the experts of a learned router depend on the token far more than by chance', () => {
  const { nats, shuffled } = informationOf(result, 'token')
  expect(nats).toBeGreaterThan(5 * shuffled)
  expect(result.experts.some(({ tokens }) => tokens.length > 0)).toBe(true)
})

test('two calls on the same run give the same result', async () => {
  expect(await specialisation(run, { arm: 'learned', tokens: limit })).toEqual(result)
})

test('with a hash router the information about the token is the entropy of the experts', async () => {
  const hash = await specialisation(await trained('hash', { router: 'hash' }), { arm: 'hash', tokens: limit })
  const { nats, entropy } = informationOf(hash, 'token')
  expect(entropy).toBeGreaterThan(0.9 * Math.log(4))
  expect(Math.abs(nats - entropy)).toBeLessThan(1e-12)
  for (const { tokens } of hash.experts) expect(tokens.length).toBeGreaterThan(0)
})

test('with a random router the information is about as low as with shuffled labels', async () => {
  const directory = await trained('random', { router: 'random', capacity: 'none' })
  const chance = await specialisation(directory, { arm: 'random', tokens: limit })
  const token = informationOf(chance, 'token')
  expect(Math.abs(token.nats / token.shuffled - 1)).toBeLessThan(0.1)
  for (const of of ['year', 'party']) {
    const { nats, shuffled } = informationOf(chance, of)
    expect(nats).toBeLessThan(3 * shuffled)
  }
})

test('text without year and party gives information about tokens only', async () => {
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
