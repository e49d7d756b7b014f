/**
 * Real processes on one study: killed and restarted at random, and racing for claims.
 *
 * @slow
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { group } from 'd3-array'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { randomFor } from '../../../core/random.ts'
import { readJsonLines } from '../../../node/system/jsonl.ts'
import type { RunRecord } from '../contract.ts'
import { study } from '../shown/study.ts'
import { FakeStudy, recorder, runWithLoss } from '../testing/fake-study.ts'
import { readStored } from '../testing/stored.ts'
import { RESULTS_FILE } from './results-file.ts'

/** Starting a process takes a second or more. */
vi.setConfig({ testTimeout: 120_000 })

const script = (name: string) => fileURLToPath(new URL(`../testing/${name}.ts`, import.meta.url))

let fake: FakeStudy
const running = new Set<ChildProcess>()
beforeEach(async () => {
  fake = await FakeStudy.open()
})
afterEach(async () => {
  for (const child of running) child.kill('SIGKILL')
  running.clear()
  await fake.close()
})

interface Started {
  readonly child: ChildProcess
  readonly output: () => string
  readonly ended: Promise<number | null>
}

function start(name: string, ...args: string[]): Started {
  const child = spawn(process.execPath, ['--import', 'tsx', script(name), ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  running.add(child)
  let text = ''
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  const ended = new Promise<number | null>((resolve) =>
    child.on('close', (code) => {
      running.delete(child)
      resolve(code)
    }),
  )
  return { child, output: () => text, ended }
}

interface Logged {
  readonly key: string
  readonly pid: number
  readonly at: number
}

async function logged(): Promise<Logged[]> {
  const lines: Logged[] = []
  for await (const line of readJsonLines<Logged>(fake.file('jobs.jsonl'))) lines.push(line)
  return lines
}

interface Results {
  readonly records: readonly RunRecord[]
  readonly timings: unknown
  readonly tuning: unknown
  readonly pilot: unknown
}

const resultsIn = (folder: string): Results => readStored(fake.file(folder))

const comparable = ({ records, timings, tuning, pilot }: Results) => ({
  records: records.toSorted((a, b) => a.key.localeCompare(b.key)),
  timings,
  tuning,
  pilot,
})

const input = {
  arms: { a: {}, b: { 'model.moe.k': 2 }, c: { 'model.moe.k': 3 } },
  seeds: [1, 2, 3],
  tune: { rates: [0.5, 1, 2], steps: 0.5, seeds: [0], margin: 0 },
  timings: ['a', 'b'],
}

test('four processes, killed and restarted at random, do every run once, with the results of one process', async () => {
  const seed = process.env.CHOIR_TEST_SEED ?? String(Date.now())
  const random = randomFor(Number(seed), 'kills')
  const alone = recorder(runWithLoss)
  await study(fake.specification(input), fake.options({ directory: fake.file('alone') }), alone.run)

  const starts: Started[] = []
  const startOne = () => starts.push(start('study-process', fake.folder, JSON.stringify(input), '300'))
  for (let i = 0; i < 4; i++) startOne()
  const killedAt = new Map<number, number>()
  for (let kill = 1; kill <= 6; kill++) {
    await vi.waitUntil(async () => (await logged()).length >= 3 * kill, { timeout: 60_000, interval: 20 })
    await delay(random.uniform() * 150)
    // Half of the time, the victim is the process that has just begun a run.
    const last = (await logged()).at(-1)?.pid
    const alive = starts.filter(({ child }) => running.has(child))
    const victim =
      (random.uniform() < 0.5 && alive.find(({ child }) => child.pid === last)) ||
      alive[random.integer(Math.max(1, alive.length))]
    if (!victim) break
    killedAt.set(victim.child.pid as number, Date.now())
    victim.child.kill('SIGKILL')
    await victim.ended
    const file = fake.file('out', RESULTS_FILE)
    if (existsSync(file)) expect(resultsIn('out').records, `seed ${seed}`).toBeInstanceOf(Array)
    startOne()
  }
  const codes = await Promise.all(starts.map(({ ended }) => ended))
  const failed = starts.filter(({ child }, i) => codes[i] !== 0 && !killedAt.has(child.pid as number))
  expect(failed, `seed ${seed}`).toEqual([])

  // If the process that wrote the report was killed, this process writes it. No run is done again.
  const after = recorder(runWithLoss)
  await study(fake.specification(input), fake.options({ join: true }), after.run)
  expect(
    after.jobs.filter(({ kind }) => kind === 'train'),
    `seed ${seed}`,
  ).toEqual([])
  expect(comparable(resultsIn('out')), `seed ${seed}`).toEqual(comparable(resultsIn('alone')))
  expect(existsSync(fake.file('out', 'report.html'))).toBe(true)
  expect(readdirSync(fake.file('out')).filter((name) => name === 'cells' || name === 'processes')).toEqual([])

  const runs = group(
    (await logged()).filter(({ key }) => key !== 'timing'),
    ({ key }) => key,
  )
  expect([...runs.keys()].sort()).toEqual(alone.jobs.flatMap((job) => (job.kind === 'train' ? [job.key] : [])).sort())
  for (const attempts of runs.values())
    for (const [i, { pid }] of attempts.slice(0, -1).entries())
      expect(killedAt.get(pid) ?? Number.POSITIVE_INFINITY, `seed ${seed}`).toBeLessThanOrEqual(
        attempts[i + 1]?.at ?? 0,
      )
  // On a busy machine the first processes have done many runs before the last one has started.
  expect(new Set([...runs.values()].flat().map(({ pid }) => pid)).size, 'processes that did runs').toBeGreaterThan(2)
})

test('each cell, free or left by a dead process, goes to exactly one claimer of several processes', async () => {
  const keys = Array.from({ length: 25 }, (_, i) => `cell-${i}`)
  await mkdir(fake.file('cells'), { recursive: true })
  const gone = { id: 'gone', number: 1, pid: 999_999_999, host: 'gone', machine: 'gone', start: null, since: '' }
  for (const key of keys.slice(0, 12))
    await writeFile(fake.file('cells', `${key}.1.json`), JSON.stringify({ holder: gone, result: null }))
  const starts = Array.from({ length: 4 }, () => start('claim-process', fake.folder, '5', ...keys))
  await vi.waitUntil(() => starts.every(({ output }) => output().endsWith(']')), { timeout: 60_000 })
  const got = starts.flatMap(({ output }) => JSON.parse(output()) as string[])
  expect(got.sort()).toEqual(keys.toSorted())
  // Their claims die with them.
  for (const { child } of starts) child.kill('SIGKILL')
  await Promise.all(starts.map(({ ended }) => ended))
  const next = start('claim-process', fake.folder, '3', ...keys)
  await vi.waitUntil(() => next.output().endsWith(']'), { timeout: 60_000 })
  expect((JSON.parse(next.output()) as string[]).sort()).toEqual(keys.toSorted())
})

test('a process that finds all runs claimed waits until they are done, and ends then', async () => {
  const two = { arms: { a: {}, b: { 'model.moe.k': 2 } }, seeds: [1] }
  const first = start('study-process', fake.folder, JSON.stringify(two), fake.file('go'))
  await vi.waitUntil(async () => (await logged()).length > 0, { timeout: 30_000 })
  const second = start('study-process', fake.folder, JSON.stringify(two), '0')
  await vi.waitUntil(() => second.output().includes('"waiting"'), { timeout: 30_000 })
  await writeFile(fake.file('go'), '')
  expect(await Promise.all([first.ended, second.ended])).toEqual([0, 0])
  const events = second
    .output()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  const by = `process ${first.child.pid}`
  expect(events.find(({ kind }) => kind === 'waiting')).toMatchObject({ runs: [{ arm: 'a', seed: 1, by }] })
  expect(events.find(({ kind }) => kind === 'note')?.message).toBe(`working on this study together with ${by}`)
  // One of the two wrote the report, and the other names it.
  const others = [first, second].map(
    ({ output }) => (JSON.parse(output().trim().split('\n').at(-1) ?? '') as { others: string[] }).others,
  )
  expect(others.filter((names) => names.length === 0)).toHaveLength(1)
  expect(existsSync(join(fake.folder, 'out', 'report.html'))).toBe(true)
  expect(readdirSync(fake.file('out'))).not.toContain('cells')
})
