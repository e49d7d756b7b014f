/**
 * Branches of a study as a user runs them: each equals a single run bit for bit, and all together cost only the longest
 * run and some decays.
 *
 * @slow
 */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { parquetReadObjects } from 'hyparquet'
import { beforeAll, expect, test, vi } from 'vitest'
import { undocumented } from '../../src/faces/cli/testing/documented-events.ts'
import type { FinishedRun } from '../../src/tools/study/contract.ts'
import { lines, studyRuns, timeouts } from './study-runs.ts'
import { results, trainRecords } from './support.ts'

vi.setConfig({ ...timeouts, hookTimeout: timeouts.testTimeout })
const { workspace, studyFile, study, resultsIn } = studyRuns()

const schedule = { kind: 'wsd', warmup: 2, decay: 0.25, learningRate: 0.01 }
const set = { 'train.steps': 40, 'train.evalEvery': 10, 'train.schedule': schedule }
const arms = { 'top-1': {}, 'top-2': { 'model.moe.k': 2 } }
const SHARES = [0.25, 0.5, 1]
let file: string
beforeAll(async () => {
  file = studyFile('branches', { arms, seeds: [1], set, branches: SHARES })
  const ended = await study(file, 'whole', '--keep-checkpoints', '--json')
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  for (const line of lines(ended)) expect(undocumented('study', line)).toEqual([])
})

const runsIn = (out: string) =>
  readdirSync(workspace().file(out, 'runs')).map((name) => workspace().file(out, 'runs', name))
const runOf = (out: string, { key }: FinishedRun) => runsIn(out).find((path) => path.endsWith(key.slice(0, 8))) ?? ''
const recordsIn = (out: string) =>
  resultsIn(out)
    .records.map((record) => {
      if (record.status === 'failed') throw new Error(record.error)
      return record
    })
    .sort((a, b) => a.key.localeCompare(b.key))

/** A record without measured times, and without its checksum, which covers them. */
const withoutTimes = ({ seconds: _, checksum: _sum, evaluations, ...record }: FinishedRun & { checksum?: string }) => ({
  ...record,
  evaluations: evaluations.map(({ seconds: _, ...rest }) => rest),
})

/**
 * Number of steps that all runs together trained. A line that was copied from another run has the same measured time,
 * so it counts once.
 */
const stepsTrained = (out: string) => {
  const trained = runsIn(out).flatMap((path) =>
    trainRecords(path).map(({ step, loss, step_ms }) => `${step} ${loss} ${step_ms}`),
  )
  return new Set(trained).size
}

test('a branch and the whole run have the records, parameters and moments of single runs of their steps, bit for bit', async () => {
  const found = recordsIn('whole').filter(({ config }) => config.model.moe?.k === 1)
  expect(found).toHaveLength(SHARES.length)
  for (const record of found) {
    const { steps } = record.config.train
    // The second branch leaves a trunk that has gone on after another branch, so it stands for the first one too.
    if (steps === 10) continue
    const name = `single-${steps}`
    const single = studyFile(name, { arms: { alone: {} }, seeds: [1], set: { ...set, 'train.steps': steps } })
    expect((await study(single, name, '--threads', '1', '--keep-checkpoints')).code).toBe(0)
    const [other] = recordsIn(name) as [FinishedRun]
    expect(record.key).toBe(other.key)
    expect(results(runOf('whole', record))).toEqual(results(runOf(name, other)))
    expect(withoutTimes(record)).toEqual({ ...withoutTimes(other), config: record.config })
  }
})

test('the trunk is trained once', () => {
  // An arm trains 40 + 0.25 · (10 + 20) steps, where 2.5 steps are 2 because the decay begins after step 8.
  expect(stepsTrained('whole')).toBe(2 * (40 + 2 + 5))
})

test('the report has the difference at each number of tokens, and the table of runs a row for each branch', async () => {
  const report = readFileSync(workspace().file('whole', 'report.md'), 'utf8')
  expect(report).toMatch(/\| top-2 \| +1\.28k \|[\s\S]*\| top-2 \| +2\.56k \|[\s\S]*\| top-2 \| +5\.12k \|/)
  expect(report).toContain('6 of 6 runs done: 2 arms')
  const bytes = readFileSync(workspace().file('whole', 'results.parquet'))
  const rows = await parquetReadObjects({ file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) })
  const top1 = rows.filter(({ arm, seed }) => arm === 'top-1' && seed === 1n)
  expect(top1.map(({ branch, steps, tokens }) => [branch, steps, tokens])).toEqual([
    [0.25, 10n, 1280n],
    [0.5, 20n, 2560n],
    [1, 40n, 5120n],
  ])
})

test('a study that is killed, and then shared by two processes, has the same results', async () => {
  const args = ['study', file, '--out', workspace().file('killed'), '--json']
  const running = workspace().start(...args, '--jobs', '2')
  // The kill comes after the first branch, while other runs are in their trunks or decays.
  await running.line(({ kind }) => kind === 'end')
  running.kill('SIGKILL')
  await running.ended
  const two = [0, 1].map(() => workspace().start(...args, '--jobs', '1', '--threads', '1', '--join'))
  for (const one of two) expect((await one.ended).code).toBe(0)
  expect(recordsIn('killed').map(withoutTimes)).toEqual(recordsIn('whole').map(withoutTimes))
  // A kill may come after a result is kept and before the checkpoints of its run are removed.
  const left = runsIn('killed').filter((path) => existsSync(`${path}/checkpoints`))
  expect(left.length).toBeLessThanOrEqual(1)
})

test('without the run directories a longer branch is trained from its start, with a note and the same results', async () => {
  const shorter = studyFile('shorter', { arms, seeds: [1], set: { ...set, 'train.steps': 20 }, branches: [0.5, 1] })
  expect((await study(shorter, 'lost')).code).toBe(0)
  rmSync(workspace().file('lost', 'runs'), { recursive: true })
  const ended = await study(file, 'lost', '--json')
  const notes = lines(ended).filter(({ kind }) => kind === 'note')
  expect(notes.map(({ message }) => message)).toEqual([
    expect.stringMatching(
      /^top-[12], seed 1: the checkpoint that it would continue is gone, so it is trained from its start$/,
    ),
  ])
  expect(stepsTrained('lost')).toBe(2 * 40)
  expect(recordsIn('lost').map(withoutTimes)).toEqual(recordsIn('whole').map(withoutTimes))
  for (const path of runsIn('lost')) expect(existsSync(`${path}/checkpoints`)).toBe(false)
})

test('a study with another schedule is refused before anything is written', async () => {
  const wrong = studyFile('wrong', { arms, seeds: [1], set: { 'train.steps': 40 }, branches: SHARES })
  const { code, stderr } = await study(wrong, 'wrong')
  expect({ code, stderr }).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('arm "top-1": invalid train.schedule.kind: "cosine" (must be "wsd" with branches'),
  })
  expect(existsSync(workspace().file('wrong'))).toBe(false)
})
