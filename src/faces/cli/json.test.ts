/**
 * Every line of `--json` has the style and the fields that docs/events.md promises.
 *
 * @slow
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { PredictionOutcome } from '../../tools/study/analysis/predictions.ts'
import type { StudyEvent } from '../../tools/study/events.ts'
import { parseJsonLines, writeJson } from './json.ts'
import { main } from './program/main.ts'
import { eventFields, undocumented } from './testing/documented-events.ts'
import { fakeIo } from './testing/fake.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-json-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const run = { arm: 'a', seed: 1, rate: 'trial', learningRate: 0.1 } as const

/** Events of a study that the fake `study` does not emit. */
const studyEvents: readonly StudyEvent[] = [
  { kind: 'waiting', runs: [{ ...run, by: 'process 7' }] },
  {
    kind: 'tuned',
    arm: 'a',
    budgetSteps: 9,
    trials: [{ learningRate: 0.1, loss: 3 }],
    best: 2,
    common: 1,
    edge: null,
    confirmed: true,
  },
  {
    kind: 'pilot',
    baseline: 'a',
    arm: 'b',
    differences: [0.1],
    deviation: 0.1,
    seeds: 3,
    detectable: 0.1,
    seedsForHalf: 9,
  },
  {
    kind: 'predictions',
    predictions: [
      { question: 'q', contrasts: [['a', 'b']], of: 'all', expect: 'equal', margin: 0.1, because: 'x' },
      { question: 'q', contrasts: [['a', 'b']], of: 'all', from: -0.2, to: 0.1 },
    ],
    sha256: 'f',
    at: null,
    ended: null,
    changes: 0,
  },
  { kind: 'timing', arm: 'a', turn: 1, turns: 2, secondsLeft: null },
  { kind: 'note', message: 'a' },
]

const predictionOutcome: PredictionOutcome = {
  question: 'q',
  contrasts: [['a', 'b']],
  of: 'all',
  expect: 'better',
  registered: { at: '2026-11-29T12:00:00.000Z', ended: 0 },
  result: 'held',
  uncorrected: 'held',
  deciding: ['a', 'b'],
  difference: -0.02,
  low: -0.03,
  high: -0.01,
}

const slow = { rank: 1, host: 'b', pid: 7, ratio: 2, cost: 0.2, load: 1.5 }
const ranks = {
  ranks: 2,
  compute: 0.5,
  allToAll: 0.2,
  allReduce: 0.2,
  wait: 0.1,
  load: { rank: 1, maxOverMean: 2 },
  slow,
}

describe('every line of', () => {
  test.each([
    ['train', 'train tiny --json --profile --sample --watch --out'],
    ['study', 'study m6t --json --out'],
    ['study', 'study m6t --dry-run --budget 2h --json'],
    ['eval', 'eval runs/x --json --math bf16'],
    ['score', 'score runs/x --json --text a'],
    ['routing', 'routing runs/x --json --math bf16 --out'],
    ['routing', 'routing a --compare b --json'],
    ['routing', 'routing a --export b --json'],
    ['generate', 'generate runs/x --json --prompt a'],
    ['inspect', 'inspect tiny --json --signal'],
    ['check', 'check mine.ts --json'],
    ['bench', 'bench --shape tiny --only top-1 --only dropless --json --profile'],
    ['bench', 'bench --ceilings --json'],
    ['plan', 'plan m6t-1t --cluster v100-480 --what-if plan.load.cv=0,1 --json'],
    ['plan', 'plan m6t-1t --cluster v100-8 --json'],
    ['import', 'import theirs --json --out'],
    ['export', 'export runs/x --format hf --json'],
    ['devices', 'devices --json'],
    ['watch', 'watch runs/x --share --json'],
    ['prune', 'prune --dry-run --json'],
  ])('choir %s has documented fields in snake_case, and the first line has the version', async (command, line) => {
    const fake = fakeIo({ ranks })
    const { operations } = fake.io
    const study: typeof operations.study = async (specification, options) => {
      for (const event of studyEvents) options.onEvent?.(event)
      return { ...(await operations.study(specification, options)), predictions: [predictionOutcome] }
    }
    const args = line.split(' ')
    if (line.endsWith('--out')) args.push(join(folder, command))
    await main(args, { ...fake.io, operations: { ...operations, study } })
    const events: Record<string, unknown>[] = fake.stdout.text
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text))
    expect(events.length).toBeGreaterThan(0)
    expect(events.map(({ version }) => version)).toEqual([1, ...events.slice(1).map(() => undefined)])
    for (const event of events) {
      expect(undocumented(command, event), JSON.stringify(event).slice(0, 200)).toEqual([])
      for (const name of eventFields(event)) expect(name).toMatch(/^[a-z\d_.[\]]+$/)
    }
  })
})

describe('writeJson', () => {
  test('renames fields, except the fields of a file', () => {
    const { io, stdout } = fakeIo()
    writeJson(io, { kind: 'a', stepMs: 1, nested: [{ allToAll: Number.NaN }], config: { heldOut: 0.1 } })
    expect(stdout.text).toBe(
      '{"kind":"a","version":1,"step_ms":1,"nested":[{"all_to_all":null}],"config":{"heldOut":0.1}}\n',
    )
    expect(parseJsonLines(stdout.text)).toEqual([
      { kind: 'a', stepMs: 1, nested: [{ allToAll: null }], config: { heldOut: 0.1 } },
    ])
  })

  test('keeps the names of a line of metrics.jsonl, since older runs have them', () => {
    const { io, stdout } = fakeIo()
    const line =
      '{"kind":"train","step":1,"tokens":128,"loss":6.2,"drop_rate":0.031,"load_cv_kept":0.3,"tokens_per_second":12345,' +
      '"step_ms":10.4,"mfu":0.613}'
    writeJson(io, { kind: 'first' })
    writeJson(io, JSON.parse(line))
    expect(stdout.text.split('\n')[1]).toBe(line)
  })
})
