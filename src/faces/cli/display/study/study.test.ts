/** The display of a study, on a terminal and in a file. */
import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import { loadConfig } from '../../../../node/run/load-config.ts'
import type { FailedRun, Prediction } from '../../../../tools/study/contract.ts'
import type { StudyEvent } from '../../../../tools/study/events.ts'
import { colorsFor } from '../../io.ts'
import { fakeIo } from '../../testing/fake.ts'
import { Screen } from '../../testing/screen.ts'
import { StudyDisplay } from './study.ts'

const opening = {
  arms: 2,
  seeds: 3,
  branches: 1,
  runs: 6,
  finished: 0,
  trials: 6,
  finishedTrials: 2,
  jobs: 2,
  threads: 1,
} as const
const trial = { arm: '2 top-1 1x, ranked', seed: 0, rate: 'trial', learningRate: 0.0015 } as const
const run = { arm: '2 top-1 1x, ranked', seed: 1, rate: 'common' } as const
const best = { ...run, rate: 'best', learningRate: 0.012 } as const
const trials = [0.0015, 0.003, 0.006, 0.012].map((learningRate) => ({ learningRate, loss: 4 }))

async function events(): Promise<StudyEvent[]> {
  const config = await loadConfig('tiny', [])
  const record: FailedRun = { status: 'failed', key: 'k', seed: 1, config, error: 'step 3: the loss is NaN' }
  return [
    { kind: 'study', ...opening },
    { kind: 'phase', phase: 'tuning', runs: 6, finished: 2, flopsLeft: 4e12 },
    { kind: 'begin', ...trial, flops: 1e12 },
    { kind: 'progress', ...trial, step: 5, steps: 10, loss: 4.5, activity: 'training', secondsLeft: null },
    { kind: 'end', ...trial, record, loss: null, finished: 3, runs: 6, flopsLeft: 3e12, secondsLeft: 120 },
    { kind: 'phase', phase: 'tuning', runs: 7, finished: 6, flopsLeft: 4e12 },
    { kind: 'phase', phase: 'confirm', runs: 2, finished: 0, flopsLeft: 4e12 },
    {
      kind: 'tuned',
      arm: trial.arm,
      budgetSteps: 10,
      trials,
      best: 0.012,
      common: 0.003,
      edge: 'highest',
      confirmed: true,
    },
    {
      kind: 'tuned',
      arm: '2 top-1 kx',
      budgetSteps: 10,
      trials,
      best: 0.006,
      common: 0.003,
      edge: null,
      confirmed: false,
    },
    { kind: 'tuned', arm: 'dense', budgetSteps: 10, trials, best: 0.003, common: 0.003, edge: null },
    { kind: 'phase', phase: 'runs', runs: 8, finished: 6, flopsLeft: 2e12 },
    {
      kind: 'pilot',
      baseline: 'dense',
      arm: '2 top-1 1x, ranked',
      differences: [0.01, 0.02, 0.03],
      deviation: 0.01,
      seeds: 3,
      detectable: 0.0326,
      seedsForHalf: 6,
    },
    { kind: 'begin', ...run, flops: 1e12 },
    { kind: 'begin', ...best, flops: 1e12 },
    { kind: 'progress', ...best, step: 5, steps: 20, loss: 3.25, activity: 'evaluation', secondsLeft: 90 },
    { kind: 'end', ...run, record, loss: null, finished: 7, runs: 8, flopsLeft: 1e12, secondsLeft: 80 },
    { kind: 'waiting', runs: [1, 2, 3, 4].map((seed) => ({ ...run, seed, by: 'process 7 on b' })) },
    { kind: 'phase', phase: 'timings', runs: 5, finished: 0, flopsLeft: 0 },
    { kind: 'timing', arm: 'dense', turn: 1, turns: 5, secondsLeft: 45 },
  ]
}

async function written(terminal: boolean, columns = 100): Promise<string> {
  const fake = fakeIo({ terminal, columns })
  const display = new StudyDisplay(fake.io, colorsFor(fake.io.stdout, fake.io.env))
  for (const event of await events()) {
    fake.clock += 10_000
    display.event(event)
  }
  display.close()
  return fake.stdout.text
}

const shown = async (terminal: boolean): Promise<string[]> =>
  stripVTControlCharacters(await written(terminal)).split(/[\n\r]/)

test.each([false, true])('phases appear in order with their results (terminal: %s)', async (terminal) => {
  const lines = await shown(terminal)
  const places = [
    /study .* 2 arms, 3 seeds: 6 runs$/,
    /tuning .* 6 short trials of learning rates, 2 already done$/,
    /^ {2}learning rates$/,
    /3\/6 {2}2 top-1 1x, ranked, rate 0\.0015, seed 0 {2}failed: step 3/,
    /^ {2}learning rates, beyond the edges of the sweeps$/,
    /^ {2}learning rates, confirmed by whole runs$/,
    /2 top-1 1x, ranked: best rate 0\.012 \(common 0\.003; highest of 4 tried\)/,
    /2 top-1 kx: best rate 0\.006 \(common 0\.003; not confirmed, so the common one is used\)/,
    /dense: best rate 0\.003 \(the common one\)/,
    /^ {2}runs$/,
    /power {2}2 top-1 1x, ranked against dense:/,
    /difference over 3 seeds: 0\.01 nats/,
    /3 seeds detect an effect of 0\.033 /,
    /half that size would need 6 seeds/,
    /7\/8 {2}2 top-1 1x, ranked, seed 1 {2}failed: step 3/,
    /^ {2}waiting for 4 runs on other processes:$/,
    /^ {4}2 top-1 1x, ranked, seed 3 \(process 7 on b\)$/,
    /^ {4}and 1 more$/,
    /^ {2}step times$/,
  ].map((pattern) => lines.findIndex((line) => pattern.test(line)))
  expect(places).not.toContain(-1)
  expect(places).toEqual(places.toSorted((a, b) => a - b))
})

test.each([40, 60, 80])('in %d columns no line is wider, and no line that stays is cut', async (columns) => {
  const screen = new Screen(columns)
  screen.write(await written(true, columns))
  const lines = screen.lines
  for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(columns)
  const text = lines.join(' ').replace(/ +/g, ' ')
  for (const part of [
    'tuning 6 short trials of learning rates, 2 already done',
    '2 top-1 1x, ranked: best rate 0.012 (common 0.003; highest of 4 tried)',
    '3 seeds detect an effect of 0.033 with a probability of 80 % (power)',
    '7/8 2 top-1 1x, ranked, seed 1 failed: step 3: the loss is NaN',
  ])
    expect(text).toContain(part)
})

test('on a terminal the bar counts trials, then runs, then turns, and shows the learning rate of running trainings', async () => {
  const text = (await shown(true)).join('\n')
  expect(text).toMatch(/3\/6 trials/)
  expect(text).toMatch(/7\/8 runs/)
  expect(text).toMatch(/0\/5 turns {3}\d.* left/)
  expect(text).toMatch(/rate 0\.012, seed 1 {2}5\/20, loss 3\.250, evaluating/)
})

test('the time left is counted down from the newest estimate, which is printed before the first run ends', async () => {
  const fake = fakeIo({ terminal: false })
  const display = new StudyDisplay(fake.io, colorsFor(fake.io.stdout, fake.io.env))
  const all = await events()
  const end = all.find((event) => event.kind === 'end') as StudyEvent
  display.event({ kind: 'begin', ...run, flops: 1e12 })
  const progress = { kind: 'progress', ...run, steps: 20, loss: 4, activity: 'training' } as const
  display.event({ ...progress, step: 1, secondsLeft: null })
  expect(fake.stdout.text).not.toContain('left')
  display.event({ ...progress, step: 2, secondsLeft: 150 })
  expect(fake.stdout.text).toMatch(/^ {2}about 2m 30s left$/m)
  display.event({ ...progress, step: 3, secondsLeft: 140 })
  fake.clock += 20_000
  display.event({ ...end, kind: 'end', secondsLeft: null } as StudyEvent)
  expect(fake.stdout.text.match(/about/g)).toHaveLength(1)
  expect(fake.stdout.text).toMatch(/failed: step 3: .* {3}2m 00s left$/m)
})

test('runs of a study with branches are named with their steps', async () => {
  const fake = fakeIo({ terminal: false })
  const display = new StudyDisplay(fake.io, colorsFor(fake.io.stdout, fake.io.env))
  const branch = { arm: 'top-1', seed: 1, rate: 'best', learningRate: 0.003, branchSteps: 1250 } as const
  const record: FailedRun = { status: 'failed', key: 'k', seed: 1, config: await loadConfig('tiny', []), error: 'NaN' }
  display.event({ kind: 'study', ...opening, branches: 4, runs: 24, trials: 0, finishedTrials: 0 })
  display.event({ kind: 'end', ...branch, record, loss: null, finished: 1, runs: 24, flopsLeft: 0, secondsLeft: null })
  expect(fake.stdout.text).toMatch(/2 arms, 3 seeds, 4 branches: 24 runs/)
  expect(fake.stdout.text).toContain('top-1, rate 0.003, 1,250 steps, seed 1  failed: NaN')
})

test('a matched arm has a line with its value, and a mismatch of more than 1 % is marked', () => {
  const fake = fakeIo({ terminal: false })
  const display = new StudyDisplay(fake.io, colorsFor(fake.io.stdout, fake.io.env))
  const match = { kind: 'match', arm: 'dense', of: 'top-2', by: 'model.moe.hidden', value: 344 } as const
  display.event({ ...match, equal: 'activeParameters', target: 1.19e6, reached: 1.1936e6, mismatch: 0.003 })
  display.event({ ...match, equal: 'activeFlops', target: 1e7, reached: 9.66e6, mismatch: -0.034 })
  display.event({ ...match, equal: 'memory', target: 16e6, reached: 16e6, mismatch: 0 })
  expect(fake.stdout.text.trimEnd().split('\n')).toEqual([
    '  dense: moe.hidden 344, active parameters 1.19 M (top-2: +0.303 %)',
    '  dense: moe.hidden 344, active FLOPs 9.66 MFLOP a token (top-2: −3.40 %, more than 1 %)',
    '  dense: moe.hidden 344, memory 16.0 MB (top-2: equal)',
  ])
})

test('predictions have a line each, below their registration and its hash', () => {
  const fake = fakeIo({ terminal: false })
  const display = new StudyDisplay(fake.io, colorsFor(fake.io.stdout, fake.io.env))
  const event = {
    kind: 'predictions',
    sha256: 'f00',
    changes: 1,
  } as const
  const predictions: readonly Prediction[] = [
    { question: 'Is b better?', contrasts: [['a', 'b']], of: 'all', expect: 'better', margin: 0.01 },
    {
      question: 'Is b better?',
      contrasts: [
        ['a', 'b'],
        ['a', 'c'],
      ],
      of: 'most',
      from: -0.05,
      to: 0,
    },
  ]
  display.event({ ...event, predictions, at: null, ended: null })
  display.event({ ...event, predictions: [], at: '2026-11-29T17:32:50.123Z', ended: 0 })
  display.event({ ...event, predictions: [], at: '2026-11-29T17:32:50.123Z', ended: 2, changes: 0 })
  expect(fake.stdout.text.trim().split(/\n+/)).toEqual([
    'predictions  are registered when the study starts; 1 earlier registration stays in the results',
    '    SHA-256 f00',
    '    Is b better?: better by more than 0.01 (b against a)',
    '    Is b better?: −0.05 to 0 (most of 2 contrasts)',
    '    Intervals: loss of the arm minus loss of its baseline, nats a token; negative is better.',
    '  predictions  registered 2026-11-29 17:32:50 UTC, before the first result; 1 earlier registration stays in the results',
    '    SHA-256 f00',
    '  predictions  registered 2026-11-29 17:32:50 UTC, after 2 results',
    '    SHA-256 f00',
  ])
})
