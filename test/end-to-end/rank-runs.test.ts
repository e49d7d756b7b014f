/** How trainings on several ranks behave: their records, signals, kills, other numbers of ranks, and refusals. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { families, launchers } from '../../src/runtime/mpi/testing/launch.ts'
import type { RanksRecord } from '../../src/step/records.ts'
import { input, outcome, rankRuns, timeouts } from './rank-runs.ts'
import { checkpointsOf, expectKilled, expectSuccess, metrics, trainRecords } from './support.ts'

vi.setConfig(timeouts)
const { workspace, newRun, train } = rankRuns()

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

describe.each(families)('%s', (family) => {
  const here = launchers.has(family)

  test.skipIf(!here)(`${family}: every step has a record of the times and loads of all ranks`, async () => {
    const run = await train(family, 4, 2, input({ parallel: { ledger: true } }, 3))
    const routing = readFileSync(join(run, 'routing.jsonl'), 'utf8').trim().split('\n')
    const kept = routing.map((line) => JSON.parse(line) as { step: number; kept_per_expert: number[] })
    const steps = trainRecords(run)
    const records = metrics(run).filter(({ kind }) => kind === 'ranks') as unknown as RanksRecord[]
    expect(records.map(({ step }) => step)).toEqual([1, 2, 3])
    for (const record of records) {
      const { step, step_ms, compute_ms, all_to_all_ms, all_reduce_ms, wait_ms, waited_for_ms } = record
      const times = [compute_ms, all_to_all_ms, all_reduce_ms, wait_ms]
      for (let rank = 0; rank < 4; rank++) {
        const parts = times.map((of) => of[rank] as number)
        for (const part of parts) expect(part).toBeGreaterThanOrEqual(0)
        expect(sum(parts)).toBeCloseTo(step_ms[rank] as number, 3)
        expect(compute_ms[rank]).toBeGreaterThan(0)
      }
      // Each wait is for some rank, counted as a mean over the three others; that rank itself may wait for a moment.
      expect(3 * sum(waited_for_ms)).toBeLessThanOrEqual(sum(wait_ms) + 0.001)
      // The first rank measures the same step from outside.
      expect(step_ms[0]).toBeLessThanOrEqual(steps[step - 1]?.step_ms as number)
      const loads = record.kept_per_rank as number[]
      expect(sum(loads)).toBe(sum(kept.filter((of) => of.step === step).flatMap((of) => of.kept_per_expert)))
      expect(record.load_max_over_mean).toBeCloseTo((4 * Math.max(...loads)) / sum(loads), 10)
    }
    const ledger = readFileSync(join(run, 'ledger.jsonl'), 'utf8').trim().split('\n')
    // Steps, layers, groups.
    expect(ledger).toHaveLength(3 * 2 * 2)
    expect(metrics(await train(family, 1, 1, input({}, 2))).some(({ kind }) => kind === 'ranks')).toBe(false)
  })

  test.skipIf(!here)(`${family}: a run continues on another number of ranks with the same bits`, async () => {
    // A constant rate, which does not depend on the number of steps.
    const config = input({ model: { moe: { k: 2 } }, train: { schedule: { kind: 'constant', warmup: 0 } } }, 6)
    const whole = outcome(await train(family, 1, 1, config))
    const run = await train(family, 4, 2, { ...config, train: { ...config.train, steps: 2, checkpointEvery: 2 } })
    const resume = (steps: number, expert: number) => [
      ...['train', '--resume', run, '--set', `train.steps=${steps}`, '--set', `parallel.expert=${expert}`, '--json'],
    ]
    await expectSuccess(workspace().startRanks(family, 2, ...resume(4, 2)))
    await expectSuccess(workspace().start(...resume(6, 1)))
    expect(outcome(run).census).toEqual(whole.census)
    const evaluated = await workspace().choir('eval', run, '--json', '--capacity', 'eval')
    expect(evaluated.code).toBe(0)
    const generated = await workspace().choir('generate', run, '--prompt', 'the people', '--tokens', '5')
    expect(generated.code).toBe(0)
  })

  test.skipIf(!here)(
    `${family}: a killed rank ends the job within seconds, is named, and the run continues with the same bits`,
    async () => {
      const config = input({ train: { checkpointEvery: 5 } }, 40)
      const whole = outcome(await train(family, 1, 1, config))
      const run = workspace().file(`killed ${family}`)
      const path = workspace().config({ ...config, parallel: { ...config.parallel, expert: 2 } })
      const job = workspace().startRanks(family, 4, 'train', path, '--out', run, '--json')
      await job.step(12)
      const { ranks } = JSON.parse(readFileSync(join(run, 'ranks.json'), 'utf8')) as {
        ranks: { pid: number; host: string }[]
      }
      const begin = performance.now()
      process.kill(ranks[2]?.pid as number, 'SIGKILL')
      const { code, stderr } = await job.ended
      expect(performance.now() - begin).toBeLessThan(10_000)
      expect(code).not.toBe(0)
      if (expectKilled(stderr, `rank 2 of 4 (${ranks[2]?.host}, PID ${ranks[2]?.pid})`)) {
        const failure = JSON.parse(readFileSync(join(run, 'failure.json'), 'utf8'))
        expect(failure).toMatchObject({ rank: 2, pid: ranks[2]?.pid })
      }
      await expectSuccess(workspace().startRanks(family, 2, 'train', '--resume', run, '--json'))
      expect(outcome(run)).toEqual(whole)
      expect(existsSync(join(run, 'failure.json'))).toBe(false)
    },
  )

  test.skipIf(!here)(`${family}: SIGUSR1 makes all ranks save and stop`, async () => {
    const run = workspace().file(`stopped ${family}`)
    const path = workspace().config(input({ train: { checkpointEvery: 1000 } }, 2000))
    const job = workspace().startRanks(family, 2, 'train', path, '--out', run, '--json')
    await job.step(3)
    job.kill('SIGUSR1')
    const { code, stderr } = await job.ended
    expect(code).not.toBe(0)
    expect(stderr).toMatch(/stopped after step \d+; continue with: .* --resume/)
    expect(checkpointsOf(run)).toHaveLength(1)
  })

  test.skipIf(!here)(
    `${family}: the first rank alone reports, in plain lines whether or not it has a terminal`,
    async () => {
      const run = workspace().file(`plain ${family}`)
      const path = workspace().config(input({}, 2))
      const job = workspace().startRanks(family, 2, 'train', path, '--out', run, '--no-sample')
      const { stdout } = await expectSuccess(job)
      expect(stdout.match(/step +2\/2/g)).toHaveLength(1)
      expect(stdout).not.toContain('\u001b')
    },
  )

  const refusals: [string, string[], RegExp][] = [
    ['a layout that does not fit', ['--set', 'parallel.expert=3'], /invalid parallel\.expert: 3 \(/],
    ['shards that do not fit', ['--set', 'parallel.shards=3'], /invalid parallel\.shards: 3 \(/],
    ['a field that does not exist', ['--set', 'model.moe.expertz=3'], /unknown field model\.moe\.expertz/],
  ]
  test.skipIf(!here).each(refusals)(
    `${family}: one rank reports %s, and all exit with code 2`,
    async (_, sets, message) => {
      const run = newRun()
      const path = workspace().config(input({ parallel: { shards: undefined } }, 2))
      const { code, stderr } = await workspace().startRanks(family, 2, 'train', path, '--out', run, ...sets).ended
      expect(stderr).toMatch(message)
      expect(stderr.match(/choir:/g)).toHaveLength(1)
      expect(code).toBe(2)
      expect(existsSync(join(run, 'checkpoints'))).toBe(false)
    },
  )
})
