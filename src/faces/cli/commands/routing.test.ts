import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { main } from '../program/main.ts'
import { fakeIo } from '../testing/fake.ts'

let record: string
beforeAll(() => {
  record = mkdtempSync(join(tmpdir(), 'choir-record-'))
  writeFileSync(join(record, 'routes.json'), '{}')
})
afterAll(() => rmSync(record, { recursive: true }))

async function routing(...args: string[]) {
  const fake = fakeIo()
  const code = await main(['routing', ...args], fake.io)
  return { code, out: fake.stdout.text, error: fake.stderr.text, calls: fake.calls }
}

describe('choir routing', () => {
  test('passes its options, and prints the record and its atlas', async () => {
    const flags = ['--data', 'a.txt', '--data', 'b.txt', '--tokens', '2k', '--format', 'parquet', '--weights', 'int8']
    const { code, out, calls } = await routing('runs/x', '--out', 'routes/x', ...flags, '--capacity', 'train')
    expect(code).toBe(0)
    expect(calls.map(({ name }) => name)).toEqual(['recordRoutes', 'writeAtlas'])
    expect(calls[0]?.args).toMatchObject([
      'runs/x',
      {
        out: 'routes/x',
        source: ['a.txt', 'b.txt'],
        tokens: 2000,
        format: 'parquet',
        weights: 'int8',
        capacity: 'train',
      },
    ])
    expect(calls[1]?.args[0]).toBe('routes/x')
    expect(out).toMatch(/tokens +1,000 of 1,500, from 1 document\n/)
    expect(out).toMatch(/record +routes\/x\/routes\.jsonl/)
    expect(out).toMatch(/layer 0 +8 +0\.41 +1\.90 +1 +50 % +62 % +3\.1 %\n/)
    expect(out).toContain('layer 0: 1 dead expert (5)\n')
    expect(out).toContain('layer 1: experts 2 and 6 are duplicates, together for 97 % of their tokens\n')
    // Only the token whose interval is above 1 is shown.
    expect(out).toContain('layer 0, expert 3: " of" ×3.6\n')
    expect(out).toMatch(/atlas +routes\/x\/atlas\.html to look at/)
  })

  test('makes the atlas of a record again, for which other options have no effect', async () => {
    const { code, calls } = await routing(record)
    expect(code).toBe(0)
    expect(calls.map(({ name }) => name)).toEqual(['writeAtlas'])
    const refused = await routing(record, '--data', 'a.txt')
    expect(refused).toMatchObject({ code: 2, calls: [] })
    expect(refused.error).toMatch(/--data has no effect: .* is a record, whose atlas is made again/)
  })

  test('compares two records, for which other options have no effect', async () => {
    const { code, out, calls } = await routing('a', '--compare', 'b')
    expect(code).toBe(0)
    expect(calls).toMatchObject([{ name: 'compareRoutes', args: ['a', 'b', {}] }])
    expect(out).toMatch(/layer 0 +99\.00 % +98\.00 % to 99\.70 % +99\.51 % +0\.012\n/)
    expect(out).toContain('99.50 % of the decisions about 1,000 tokens have the same experts; 1 other token is in one')
    expect(await routing('a', '--compare', 'b', '--replay', 'c')).toMatchObject({ code: 2, calls: [] })
    expect(await routing('a', '--compare', 'b', '--out', 'c')).toMatchObject({
      code: 2,
      error: expect.stringContaining('--out has no effect: --compare reads records'),
    })
  })

  test('writes the routes of a record to a file, for which other options have no effect', async () => {
    const { code, out, calls } = await routing('a', '--export', 'b.jsonl')
    expect(code).toBe(0)
    expect(calls).toEqual([{ name: 'writeResponses', args: ['a', 'b.jsonl'] }])
    expect(out).toMatch(/file +b\.jsonl, 3 lines\n/)
    expect(await routing('a', '--export', 'b', '--compare', 'c')).toMatchObject({ code: 2, calls: [] })
    expect(await routing('a', '--export', 'b', '--out', 'c')).toMatchObject({
      code: 2,
      error: expect.stringContaining('--out has no effect: --export reads a record'),
    })
  })

  test('needs a folder, and a format that exists', async () => {
    expect(await routing('runs/x')).toMatchObject({ code: 2, error: expect.stringContaining('missing --out') })
    expect(await routing('runs/x', '--out', '')).toMatchObject({
      code: 2,
      error: expect.stringContaining('invalid --out'),
    })
    expect(await routing('runs/x', '--out', 'y', '--format', 'csv')).toMatchObject({ code: 2 })
    expect(await routing('runs/x', '--out', 'y', '--tokens', '0')).toMatchObject({ code: 2 })
  })
})
