import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RunError, UsageError } from '../../../core/errors.ts'
import { type MoeConfig, moeSchema } from '../../../core/model/config/moe-config.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import { cvOf, measuredLoads } from './measured-loads.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-loads-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const moeOf = (experts: number): MoeConfig => moeSchema.parse({ experts })
let runs = 0

/** Creates a run directory of a model of two layers with four experts each. */
async function runWith(routing: string | null, sets: string[] = []): Promise<string> {
  const directory = join(folder, `run-${runs++}`)
  mkdirSync(directory)
  writeFileSync(
    join(directory, 'config.json'),
    JSON.stringify({ version: '0.1.0', ...(await loadConfig('tiny', sets)) }),
  )
  if (routing !== null) writeFileSync(join(directory, 'routing.jsonl'), routing)
  return directory
}

const record = (step: number, layer: number, tokens_per_expert: number[], module = 'ffn') =>
  `${JSON.stringify({ step, layer, module, tokens_per_expert })}\n`

describe('loads of a run of the same shape', () => {
  test('are the tokens of its experts, divided by their mean', async () => {
    const directory = await runWith(record(5, 0, [40, 20, 20, 0]) + record(5, 1, [10, 10, 10, 10]))
    const { loads, cv, transferred } = await measuredLoads(directory, moeOf(4), 2)
    expect(loads(0, 'ffn')).toEqual([2, 1, 1, 0])
    expect(loads(1, 'ffn')).toEqual([1, 1, 1, 1])
    // The mean of √((1 + 0 + 0 + 1)/4) and 0.
    expect(cv).toBeCloseTo(Math.SQRT1_2 / 2, 12)
    expect(transferred).toBe(false)
  })

  test('are averaged over the last ten records of a router', async () => {
    const early = Array.from({ length: 10 }, (_, i) => record(i, 0, [100, 0, 0, 0]))
    const late = Array.from({ length: 10 }, (_, i) => record(10 + i, 0, i % 2 === 0 ? [4, 2, 2, 0] : [0, 2, 2, 4]))
    const { loads } = await measuredLoads(await runWith([...early, ...late].join('')), moeOf(4), 2)
    expect(loads(0, 'ffn')).toEqual([1, 1, 1, 1])
  })

  test('ignore a line that a crash truncated', async () => {
    const whole = record(5, 0, [3, 1, 0, 0])
    const { loads } = await measuredLoads(await runWith(whole + record(6, 0, [0, 0, 0, 9]).slice(0, 20)), moeOf(4), 2)
    expect(loads(0, 'ffn')).toEqual([3, 1, 0, 0])
  })
})

describe('loads of a run of a different shape', () => {
  test('have the distribution of that run, at the same relative depth', async () => {
    const directory = await runWith(record(5, 0, [8, 0, 0, 0]) + record(5, 1, [2, 2, 2, 2]))
    const { loads, transferred } = await measuredLoads(directory, moeOf(64), 8)
    expect(transferred).toBe(true)
    const [first, last] = [loads(0, 'ffn'), loads(7, 'ffn')]
    expect(first).toHaveLength(64)
    expect(first.reduce((a, b) => a + b, 0)).toBeCloseTo(64, 9)
    expect(cvOf(first)).toBeGreaterThan(1)
    expect(cvOf(last)).toBeCloseTo(0, 12)
    expect(loads(0, 'ffn')).toEqual(first)
  })

  test('have that distribution also for a module that the run did not route', async () => {
    const { loads } = await measuredLoads(await runWith(record(5, 0, [3, 1, 0, 0])), moeOf(4), 2)
    expect([...loads(0, 'qkv')].sort()).toEqual([0, 0, 1, 3])
  })
})

describe('a run without loads is refused', () => {
  test('as wrong usage if it does not exist or has no experts', async () => {
    await expect(measuredLoads(join(folder, 'nowhere'), moeOf(4), 2)).rejects.toThrow(UsageError)
    const dense = await runWith('', ['model.moe=null'])
    await expect(measuredLoads(dense, moeOf(4), 2)).rejects.toThrow('the run has no experts')
  })

  test('as a failure if nothing is recorded yet', async () => {
    for (const routing of [null, ''])
      await expect(measuredLoads(await runWith(routing), moeOf(4), 2)).rejects.toThrow('has no record yet')
  })

  test('as a failure if a line is not JSON', async () => {
    await expect(measuredLoads(await runWith('nonsense\n'), moeOf(4), 2)).rejects.toThrow(RunError)
  })

  test('as a failure if a record has no loads', async () => {
    const directory = await runWith(`${JSON.stringify({ step: 1, layer: 0, module: 'ffn' })}\n`)
    await expect(measuredLoads(directory, moeOf(4), 2)).rejects.toThrow(RunError)
  })
})
