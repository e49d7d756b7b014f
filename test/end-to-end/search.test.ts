/**
 * Searches as a user runs them: killed and started again, and shared by processes. A promoted training, which goes on
 * from a shorter one, equals a training without a stop.
 *
 * @slow
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { FinishedRun, RunRecord } from '../../src/tools/study/contract.ts'
import { readStored } from '../../src/tools/study/testing/stored.ts'
import { trainRecords, Workspace } from './support.ts'

let workspace: Workspace
let file: string
beforeAll(() => {
  workspace = new Workspace()
  file = workspace.file('search.json')
  const settings = {
    'train.schedule.learningRate': { min: 0.001, max: 0.1, scale: 'log' },
    'model.moe.k': { choices: [1, 2] },
  }
  const search = { settings, configurations: 3, eta: 3, minSteps: 15, maxSteps: 45 }
  writeFileSync(file, JSON.stringify({ base: 'tiny', set: workspace.assignments(), search }))
})
afterAll(() => workspace.remove())

/** A search starts many processes. */
vi.setConfig({ testTimeout: 120_000 })

const command = (out: string, ...more: string[]) => ['study', file, '--search', '--out', workspace.file(out), ...more]
const recordsIn = (out: string): RunRecord[] => readStored<{ records: RunRecord[] }>(workspace.file(out)).records
const losses = (out: string) =>
  recordsIn(out)
    .map((record) => [record.key, record.status === 'finished' && record.heldOut.loss])
    .sort()

test('a promoted training has the losses of a training without a stop, bit for bit', async () => {
  expect(await workspace.choir(...command('whole', '--jobs', '2'))).toMatchObject({ code: 0, stderr: '' })
  const records = recordsIn('whole').filter((record): record is FinishedRun => record.status === 'finished')
  const steps = (record: FinishedRun) => record.train.step.at(-1)
  expect(records.map(steps).sort()).toEqual([15, 15, 15, 45])
  const best = records.find((record) => steps(record) === 45)
  if (!best) throw new Error('no whole training')
  // The same training as an arm of a study, without a stop.
  const plain = workspace.file('plain.json')
  const { search: _, ...input } = JSON.parse(readFileSync(file, 'utf8'))
  const { k } = best.config.model.moe ?? {}
  const { learningRate } = best.config.train.schedule
  const arms = { best: { 'model.moe.k': k, 'train.schedule.learningRate': learningRate, 'train.steps': 45 } }
  writeFileSync(plain, JSON.stringify({ ...input, arms, seeds: [1] }))
  expect((await workspace.choir('study', plain, '--out', workspace.file('plain'))).code).toBe(0)
  const [again] = recordsIn('plain') as [FinishedRun]
  expect(again.key).toBe(best.key)
  const lossesOf = (out: string, { key }: FinishedRun) => {
    const name = readdirSync(workspace.file(out, 'runs')).find((found) => found.endsWith(key.slice(0, 8))) ?? ''
    return trainRecords(workspace.file(out, 'runs', name)).map(({ loss }) => loss)
  }
  expect(lossesOf('whole', best)).toEqual(lossesOf('plain', again))
  expect(best.heldOut.loss).toBe(again.heldOut.loss)
  const report = readFileSync(workspace.file('whole', 'report.md'), 'utf8')
  expect(report).toMatch(new RegExp(`choir train tiny .*--set train.schedule.learningRate=${learningRate}`))
})

test('a search that is killed, and then shared by two processes, has the results of an uninterrupted one', async () => {
  const running = workspace.start(...command('killed', '--jobs', '1', '--json'))
  await running.line(({ kind }) => kind === 'end')
  running.kill('SIGKILL')
  await running.ended
  await delay(1500)
  const two = [0, 1].map(() => workspace.start(...command('killed', '--jobs', '1', '--join', '--json')))
  for (const one of two) expect((await one.ended).code).toBe(0)
  expect(losses('killed')).toEqual(losses('whole'))
  expect(existsSync(workspace.file('killed', 'report.html'))).toBe(true)
})

test('Ctrl-C prints how to continue, with --search', async () => {
  const running = workspace.start(...command('interrupted', '--jobs', '1', '--json'))
  await running.line(({ kind }) => kind === 'end')
  running.kill('SIGINT')
  const { code, stderr } = await running.ended
  expect(code).toBe(130)
  expect(stderr).toMatch(/stopped with [1-3] of 4 runs; continue with: choir study .* --search --out/)
})
