/**
 * The page of a run is made, or refused with a message, whatever its files hold.
 *
 * @slow
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readOnlyRun } from '../../src/faces/watch/runs/open.ts'
import { describeRun } from '../../src/faces/watch/share/describe-run.ts'
import { jsonInHtml } from '../../src/faces/watch/share/share.ts'
import { loadConfig } from '../../src/node/run/load-config.ts'
import { fuzzTimeout, runs } from '../support/soak.ts'
import { faultOf, outcomeOf } from './outcome.ts'
import { changed, damaged } from './values.ts'

const names = ['config.json', 'metrics.jsonl', 'routing.jsonl'] as const

let folder: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'choir-fuzz-'))
  const intact = join(folder, 'intact')
  mkdirSync(intact)
  writeFileSync(join(intact, 'config.json'), JSON.stringify({ version: '0.1.0', ...(await loadConfig('tiny', [])) }))
  const lines = (of: (step: number) => object[]) =>
    Array.from({ length: 12 }, (_, i) => of(i + 1).map((record) => `${JSON.stringify(record)}\n`))
      .flat()
      .join('')
  const metrics = lines((step) => [
    { kind: 'train', step, tokens: 32 * step, loss: 6 - step / 4 },
    { kind: 'eval', step, tokens: 32 * step, loss: 6 - step / 3 },
  ])
  writeFileSync(join(intact, 'metrics.jsonl'), metrics)
  const routing = lines((step) =>
    [0, 1].map((layer) => {
      const tokens_per_expert = [64, 64, step > 5 ? 0 : 64, step > 5 ? 128 : 64]
      return { step, layer, module: 'ffn', tokens_per_expert, kept_per_expert: [60, 60, 0, 60], drop_rate: 0.3 }
    }),
  )
  writeFileSync(join(intact, 'routing.jsonl'), routing)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function judge(name: string, contents: Buffer | string): Promise<void> {
  const run = join(folder, 'damaged')
  rmSync(run, { recursive: true, force: true })
  cpSync(join(folder, 'intact'), run, { recursive: true })
  writeFileSync(join(run, name), contents)
  const outcome = await outcomeOf(async () => {
    const page = describeRun(await readOnlyRun(run, new AbortController().signal))
    const text = jsonInHtml(page)
    expect(text.length).toBeLessThan(2_000_000)
    expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(page)))
    for (const { text, detail } of page.moments) expect(`${text} ${detail}`).not.toMatch(/NaN|Infinity|undefined|null/)
  })
  expect(faultOf(outcome)).toBeNull()
  expect([0, 2]).toContain(outcome.code)
}

const contentsOf = (name: string) => readFileSync(join(folder, 'intact', name))

test(
  'a run with any damage to its files',
  async () => {
    const cases = fc
      .constantFrom(...names)
      .chain((name) => damaged(contentsOf(name)).map((contents) => [name, contents] as const))
    await fc.assert(
      fc.asyncProperty(cases, ([name, contents]) => judge(name, contents)),
      runs(100),
    )
  },
  fuzzTimeout,
)

test(
  'a run with records of another shape',
  async () => {
    const cases = fc.constantFrom(...names).chain((name) => {
      const lines = contentsOf(name).toString().trim().split('\n')
      return fc.nat(lines.length - 1).chain((at) =>
        changed(JSON.parse(lines[at] as string)).map((value) => {
          return [name, lines.with(at, JSON.stringify(value) ?? '').join('\n')] as const
        }),
      )
    })
    await fc.assert(
      fc.asyncProperty(cases, ([name, contents]) => judge(name, contents)),
      runs(100),
    )
  },
  fuzzTimeout,
)
