/** `choir worth` with a law of made-up results. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { differenceAt } from '../../../tools/law/joint-law.ts'
import { lawText, parseLaw } from '../../../tools/law/law-file.ts'
import { shippedLaw } from '../../../tools/plan/worth/load-law.ts'
import { lawFileOf } from '../../../tools/study/analysis/map/study-law.ts'
import { mapStudy } from '../../../tools/study/testing/map.ts'
import { main } from '../program/main.ts'
import { eventFields, undocumented } from '../testing/documented-events.ts'
import { fakeIo } from '../testing/fake.ts'

let folder: string
let law: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-worth-'))
  law = join(folder, 'law.json')
  const found = lawFileOf(mapStudy())
  if (!found) throw new Error('no law')
  writeFileSync(law, lawText(found))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function worth(...args: string[]) {
  const fake = fakeIo({ terminal: false })
  const code = await main(['worth', ...args], fake.io)
  // Advice is wrapped, so its line breaks become spaces.
  const out = args.includes('--json') ? fake.stdout.text : fake.stdout.text.replace(/\s+/g, ' ')
  return { code, out, err: fake.stderr.text }
}

/** A model between the two sizes of the made-up map, dense or sparse. */
const shape = [
  'width=96',
  'layers=2',
  'heads=4',
  'hidden=384',
  'vocabulary=1024',
  'moe.hidden=384',
  'moe.capacity=none',
]
const sets = (...more: string[]) => [...shape, ...more].flatMap((set) => ['--set', `model.${set}`])
const inside = () => ['tiny', '--cluster', 'a100-1', '--law', law, ...sets()]

describe('choir worth', () => {
  test('answers with the differences of the law, their intervals, and what experts cost', async () => {
    const { code, out } = await worth(...inside(), '--tokens', '18M', '--json')
    expect(code).toBe(0)
    const answer = JSON.parse(out)
    expect(answer).toMatchObject({ kind: 'worth', tokens: 18e6, beyond: null, citations: [] })
    const { coefficients } = parseLaw(readFileSync(law, 'utf8'))
    const [dense, two, eight] = answer.rows
    expect([dense, two, eight].map(({ experts }) => experts)).toEqual([1, 2, 8])
    const point = { active: answer.active, tokens: 18e6, experts: 8 }
    expect(eight.forecast.difference).toBeCloseTo(differenceAt(coefficients, point), 9)
    expect(eight.forecast.low).toBeLessThan(eight.forecast.difference)
    expect(eight.forecast.high).toBeGreaterThan(eight.forecast.difference)
    // Both layers have seven more experts, each with two matrices, and with biases if there are any.
    expect(eight.parameters - dense.parameters).toBeGreaterThanOrEqual(2 * 7 * 2 * 96 * 384)
    expect(eight.memory_bytes).toBeGreaterThan(dense.memory_bytes)
    expect(eight.break_even.tokens).toBeGreaterThan(answer.active)
    // Parameters of the table of token embeddings do not compute.
    expect(answer.active_parameters - answer.active).toBe(1024 * 96)
    for (const name of eventFields(answer)) expect(name).toMatch(/^[a-z\d_.[\]]+$/)
    expect(undocumented('worth', answer)).toEqual([])
  })

  test('advises dense for few tokens, experts for many, and gives the same answer for a sparse configuration', async () => {
    const few = await worth(...inside(), '--tokens', '1.3M')
    expect(few.out).toMatch(/Dense: experts are expected to have the higher loss/)
    const many = await worth(...inside(), '--tokens', '18M')
    expect(many.out).toMatch(
      /Experts: 8 of them, of which a token uses one, lower the loss by about 0\.0\d\d nats a token \(80 %: /,
    )
    expect(many.out).toMatch(/× the memory and .* × the time of a step/)
    const [source] = parseLaw(readFileSync(law, 'utf8')).source
    expect(many.out).toContain(
      `The intervals hold for text like that of the law (${source}). On other text the gain may differ by more.`,
    )
    expect(many.out).not.toMatch(/NaN|undefined|Infinity|null/)
    const dense = await worth(
      'tiny',
      '--cluster',
      'a100-1',
      '--law',
      law,
      '--tokens',
      '18M',
      ...sets().slice(0, 10),
      '--set',
      'model.moe=null',
    )
    expect(/Experts: .*/.exec(dense.out)?.[0].slice(0, 60)).toBe(/Experts: .*/.exec(many.out)?.[0].slice(0, 60))
  })

  test.each([null, -0.01])('explains the dash of equal time only where there is one: %s', async (atEqualTime) => {
    const { io, stdout } = fakeIo({ terminal: false })
    const { worth: answer } = io.operations
    const operations: typeof io.operations = {
      ...io.operations,
      worth: async (...args) => {
        const found = await answer(...args)
        return { ...found, rows: found.rows.map((row) => ({ ...row, atEqualTime })) }
      },
    }
    expect(await main(['worth', ...inside(), '--tokens', '18M'], { ...io, operations })).toBe(0)
    const explained = stdout.text.replace(/\s+/g, ' ').includes('for as long; – if that training is outside the law')
    expect(explained).toBe(atEqualTime === null)
  })

  test('refuses to extrapolate, names the quantity outside the law, and cites published work with how it was read', async () => {
    const long = await worth(...inside(), '--tokens', '2B')
    expect(long.out).toMatch(/No answer of our own: 2\.00 B tokens are outside the law/)
    expect(long.out).toMatch(/published work does not cover this size either/)
    expect(long.out).toMatch(/arXiv 2502\.05172 \(read: the paper\)/)
    expect(long.out).toMatch(/arXiv 2202\.01169 \(read: the abstract only\)/)
    expect(long.out).not.toMatch(/80 % interval|The intervals hold/)
    const large = await worth('m6t-base', '--cluster', 'a100-64', '--law', law, '--tokens', '20B')
    expect(large.out).toMatch(/active parameters are outside the law/)
  })

  test.each([
    ['top-2', ['moe.k=2'], 2 * 384, '2 experts'],
    ['2 top-1', ['moe.router=prototype', 'moe.prototypes=2'], 2 * 384, '2 experts'],
    ['a shared expert', ['moe.sharedHidden=96'], 384 + 96, '1 expert and a shared one'],
  ])(
    'predicts nothing for %s, which no law has measured, and names the top-1 that it can answer for',
    async (_, settings, hidden, used) => {
      const own = settings.flatMap((set) => ['--set', `model.${set}`])
      const { code, out } = await worth(...inside(), '--tokens', '18M', ...own, '--json')
      expect(code).toBe(0)
      const { beyond, advice, rows, active } = JSON.parse(out)
      expect(beyond).toContain(`a token of this model uses ${used}, and the law is of top-1`)
      expect(advice).toMatch(/published work does not cover more than one expert for a token either/)
      expect(rows.map((row: { forecast: unknown }) => row.forecast)).toEqual(rows.map(() => null))
      // The costs belong to the model itself: in both layers, each expert has two matrices, in place of two dense ones.
      const eight = rows.find((row: { experts: number }) => row.experts === 8)
      const dense = rows[0]
      const shared = settings[0] === 'moe.sharedHidden=96' ? 96 : 0
      const matrices = 2 * 2 * 96 * (8 * 384 + shared - hidden)
      expect(Math.abs(eight.parameters - dense.parameters - matrices)).toBeLessThan(0.03 * matrices)
      const named = /model\.moe\.router=top-k, (.*)\)/.exec(beyond)?.[1]?.split(', ') ?? []
      expect(named).toContain(`hidden=${hidden}`)
      const topOne = ['router=top-k', ...named].flatMap((set) => ['--set', `model.moe.${set}`])
      const answered = JSON.parse((await worth(...inside(), '--tokens', '18M', ...own, ...topOne, '--json')).out)
      expect(answered).toMatchObject({ beyond: null, active })
      expect(answered.rows[2].forecast.difference).toBeLessThan(0)
    },
  )

  test('does not apply the published law to top-2, since it is a law of top-1 too', async () => {
    const medium = [
      'width=768',
      'layers=12',
      'heads=12',
      'hidden=1536',
      'vocabulary=32000',
      'moe.hidden=1536',
      'moe.k=2',
    ]
    const args = medium.flatMap((set) => ['--set', `model.${set}`])
    const { out } = await worth('tiny', '--cluster', 'h100-8', '--law', law, '--tokens', '10B', ...args, '--json')
    expect(JSON.parse(out).rows.every(({ published }: { published: unknown }) => published === null)).toBe(true)
  })

  test('uses the published law for a size that it covers, and names it', async () => {
    const medium = ['width=768', 'layers=12', 'heads=12', 'hidden=3072', 'vocabulary=32000', 'moe.hidden=3072']
    const args = medium.flatMap((set) => ['--set', `model.${set}`])
    const { out } = await worth('tiny', '--cluster', 'h100-8', '--law', law, '--tokens', '10B', ...args, '--json')
    const { rows, advice } = JSON.parse(out)
    for (const { experts, published, forecast } of rows.slice(1)) {
      expect(published, `${experts}`).toBeLessThan(0)
      expect(forecast).toBeNull()
    }
    expect(advice).toMatch(
      /As a guess, the published law, of other text and another vocabulary, would choose 8 experts/,
    )
  })

  test('takes the tokens of --tokens, of plan.tokens, or of the steps of the training', async () => {
    const planned = [...inside(), '--set', 'plan.tokens=30M']
    const tokens = async (...args: string[]) => JSON.parse((await worth(...args, '--json')).out).tokens
    expect(await tokens(...planned, '--tokens', '18M')).toBe(18e6)
    expect(await tokens(...planned)).toBe(30e6)
    const steps = ['steps=10', 'batch=4'].flatMap((set) => ['--set', `train.${set}`])
    expect(await tokens(...inside(), ...steps, '--set', 'model.sequence=128')).toBe(10 * 4 * 128)
  })

  test('names settings that differ from the settings of the law', async () => {
    const { out } = await worth(
      ...inside(),
      '--tokens',
      '18M',
      '--set',
      'model.activation=swiglu',
      '--set',
      'model.moe.capacity=kx',
    )
    expect(out).toContain('model.activation: "swiglu" (the law: "gelu")')
    expect(out).toContain('model.moe.capacity: "kx" (the law: "none")')
  })

  test.each([
    [['--tokens', '2X'], 'invalid --tokens: "2X" (expected a number of tokens'],
    [['--tokens', '0'], 'invalid --tokens: "0"'],
    [['--law', 'nothing.json'], 'cannot read law "nothing.json"'],
  ])('refuses %j', async (args, message) => {
    const { code, err } = await worth('tiny', '--cluster', 'a100-1', ...args)
    expect(code).toBe(2)
    expect(err).toContain(message)
  })

  test('reads the shipped law from a folder that the package contains', () => {
    const root = join(import.meta.dirname, '..', '..', '..', '..')
    expect(relative(root, shippedLaw)).toBe(join('laws', 'law.json'))
    expect(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).files).toContain('laws/*.json')
  })
})
