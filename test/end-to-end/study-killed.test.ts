/**
 * Studies that are killed and go on, alone or shared by processes, have the results of an undisturbed study.
 *
 * @slow
 */
import { readdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { beforeAll, expect, test, vi } from 'vitest'
import type { RunRecord } from '../../src/tools/study/contract.ts'
import { lines, studyRuns, timeouts, twoArms } from './study-runs.ts'

vi.setConfig(timeouts)
const { workspace, studyFile, study, resultsIn } = studyRuns()

/**
 * Kills a study after its first run. @returns The number of runs in its results file. The result of one more for each
 * job may be in `cells/` alone, if the study was killed before it wrote the file again.
 */
async function killed(file: string, out: string, jobs: number): Promise<number> {
  const running = workspace().start('study', file, '--out', workspace().file(out), '--jobs', String(jobs), '--json')
  const record = (await running.line(({ kind }) => kind === 'end')).record as RunRecord
  if (record.status !== 'finished') throw new Error(record.error)
  running.kill('SIGKILL')
  await running.ended
  // Its runs save and exit by themselves; until then they hold the locks of their directories.
  await delay(1500)
  return resultsIn(out).records.length
}

const losses = (out: string) =>
  resultsIn(out)
    .records.map((record) => [record.key, record.status === 'finished' && record.heldOut.loss])
    .sort()

/** File of a study of two arms, which first runs undisturbed. */
let file: string
beforeAll(async () => {
  file = studyFile('two-arms', { ...twoArms, set: { 'train.steps': 40 } })
  expect((await study(file, 'undisturbed')).code).toBe(0)
}, timeouts.testTimeout)

test('a study that is killed, and goes on in processes with --join of which one is killed, has the results of an undisturbed one', async () => {
  const done = await killed(file, 'shared', 2)
  expect(done).toBeGreaterThan(0)
  const join = ['--out', workspace().file('shared'), '--jobs', '1', '--join', '--json']
  const first = workspace().start('study', file, ...join)
  const { finished } = await first.line(({ kind }) => kind === 'study')
  expect(finished).toBeGreaterThanOrEqual(done)
  expect(finished).toBeLessThanOrEqual(done + 2)
  await first.line(({ kind }) => kind === 'begin')
  const refused = await study(file, 'shared')
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/in use by process \d+.*--join/) })
  const second = workspace().start('study', file, ...join)
  await second.line(({ kind }) => kind === 'study')
  first.kill('SIGKILL')
  const { code, stdout } = await second.ended
  expect(code).toBe(0)
  const runs = stdout.split('\n').filter((line) => line.includes('"kind":"end"'))
  expect(runs.length).toBeLessThanOrEqual(4 - Number(finished))
  expect(losses('shared')).toEqual(losses('undisturbed'))
  expect(readdirSync(workspace().file('shared')).filter((name) => ['cells', 'processes'].includes(name))).toEqual([])
})

// src/tools/study/results/many-processes.test.ts checks that it has the results of an uninterrupted study.
test('a study with a dense arm that is killed in a sweep of learning rates goes on with its trials', async () => {
  const input = {
    arms: { dense: { 'model.moe': null, 'model.hidden': 32 }, sparse: {} },
    set: { 'train.steps': 24, 'model.layers': 1, 'model.moe.zLoss': 0 },
    seeds: [1],
    tune: { rates: [1, 8, 64], steps: 0.5 },
  }
  const tuned = studyFile('tuned', input)
  const done = await killed(tuned, 'tuned', 1)
  expect(done).toBeLessThan(6)
  const again = await study(tuned, 'tuned', '--json')
  expect(again).toMatchObject({ code: 0, stderr: '' })
  const found = lines(again).find(({ kind }) => kind === 'study')?.finished_trials
  expect(found).toBeGreaterThanOrEqual(done)
  expect(found).toBeLessThanOrEqual(done + 1)
  const phases = lines(again).flatMap(({ kind, phase }) => (kind === 'phase' ? [phase] : []))
  expect(phases[0]).toBe('tuning')
  // Half a run of 24 steps prefers a higher rate than the base has, which whole runs then confirm or not.
  expect(phases.filter((phase) => phase !== 'tuning').slice(0, 2)).toEqual(['confirm', 'runs'])

  const { records } = resultsIn('tuned')
  const trials = records.filter(({ config }) => config.train.steps === 12)
  expect(trials.length).toBeGreaterThanOrEqual(6)
  for (const record of records) {
    if (record.status !== 'finished') throw new Error(record.error)
    expect(record.engine).toMatch(/oneDNN \d|ONNX Runtime alone/)
    expect(record.machine).not.toBe('')
  }
})
