/**
 * Trainings on several ranks: their records, signals, continuation on other numbers of ranks, and refusals.
 *
 * @slow
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { families, launchers } from '../../src/engine/world/mpi/testing/launch.ts'
import type { RanksRecord } from '../../src/train/step/metrics/records.ts'
import { input, outcome, rankRuns, timeouts } from './rank-runs.ts'
import { checkpointsOf, expectSuccess, metrics, trainRecords } from './support.ts'

vi.setConfig(timeouts)
const { workspace, newRun, train } = rankRuns()

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

// The learning rate is constant, so that it does not depend on the number of steps.
const config = input({ model: { moe: { k: 2 } }, train: { keep: 9, schedule: { kind: 'constant', warmup: 0 } } }, 6)
/** Run directory of one process. */
let whole: string
beforeAll(async () => {
  if (launchers.size > 0) whole = await train('Open MPI', 1, 1, config)
}, timeouts.testTimeout)

describe.each(families)('%s', (family) => {
  const here = launchers.has(family)

  describe.skipIf(!here)('a run', () => {
    let run: string
    let stdout: string
    beforeAll(async () => {
      run = newRun()
      const begin = { train: { ...config.train, steps: 3 }, parallel: { ...config.parallel, expert: 2, ledger: true } }
      const path = workspace().config({ ...config, ...begin })
      const job = workspace().startRanks(family, 4, 'train', path, '--out', run, '--no-sample')
      stdout = (await expectSuccess(job)).stdout
    }, timeouts.testTimeout)
    const resume = (steps: number, expert: number) => [
      ...['train', '--resume', run, '--set', `train.steps=${steps}`, '--set', `parallel.expert=${expert}`, '--json'],
    ]

    test(`${family}: every step has a record of the times and loads of all ranks`, () => {
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
        // Each wait is for some rank, and counted there as a mean over the other three. That rank may wait briefly too.
        expect(3 * sum(waited_for_ms)).toBeLessThanOrEqual(sum(wait_ms) + 0.001)
        // The first rank measures the same step from outside.
        expect(step_ms[0]).toBeLessThanOrEqual(steps[step - 1]?.step_ms as number)
        const loads = record.kept_per_rank as number[]
        expect(sum(loads)).toBe(sum(kept.filter((of) => of.step === step).flatMap((of) => of.kept_per_expert)))
        expect(record.load_max_over_mean).toBeCloseTo((4 * Math.max(...loads)) / sum(loads), 10)
      }
      const ledger = readFileSync(join(run, 'ledger.jsonl'), 'utf8').trim().split('\n')
      // There is a line for each step, layer and group.
      expect(ledger).toHaveLength(3 * 2 * 2)
      expect(metrics(whole).some(({ kind }) => kind === 'ranks')).toBe(false)
    })

    test(`${family}: the first rank alone reports, in plain lines whether or not it has a terminal`, () => {
      expect(stdout.match(/step +3\/3/g)).toHaveLength(1)
      expect(stdout).not.toContain('\u001b')
    })

    test(`${family}: a run continues on another number of ranks with the same bits`, async () => {
      await expectSuccess(workspace().start(...resume(6, 1), '--set', 'parallel.ledger=false'))
      const [continued, undisturbed] = [outcome(run), outcome(whole)]
      expect(continued.census).toEqual(undisturbed.census)
      expect(continued.routing).toEqual(undisturbed.routing)
    })

    // A fork of a checkpoint does not depend on the library.
    if (family === [...launchers.keys()][0])
      test(`${family}: a fork on other ranks has the same bits`, async () => {
        const fork = newRun()
        const args = [
          'train',
          '--fork',
          run,
          '--checkpoint',
          '3',
          '--out',
          fork,
          '--set',
          'train.steps=6',
          '--no-sample',
        ]
        await expectSuccess(workspace().startRanks(family, 2, ...args))
        expect(outcome(fork).census).toEqual(outcome(whole).census)
      })

    test(`${family}: SIGUSR1 makes all ranks save and stop`, async () => {
      const before = checkpointsOf(run)
      const begun = Number(before.at(-1)?.slice('step-'.length))
      const job = workspace().startRanks(family, 2, ...resume(3000, 2), '--set', 'train.checkpointEvery=3000')
      await job.step(begun + 3)
      job.kill('SIGUSR1')
      const { code, stderr } = await job.ended
      expect(code).not.toBe(0)
      const [, last = ''] = /stopped after step (\d+); continue with: .* --resume/.exec(stderr) ?? []
      expect(checkpointsOf(run)).toEqual([...before, `step-${last.padStart(8, '0')}`])
    })

    // Reading a checkpoint does not depend on the library.
    if (family === [...launchers.keys()][0])
      test.each([
        ['eval', ['--json', '--capacity', 'eval']],
        ['generate', ['--prompt', 'the people', '--tokens', '5']],
      ])(`${family}: %s reads a checkpoint of several ranks`, async (command, args) => {
        expect(await workspace().choir(command, run, ...args)).toMatchObject({ code: 0, stderr: '' })
      })
  })

  const refusals: [string, string[], RegExp][] =
    family === 'Open MPI'
      ? [
          ['a layout that does not fit', ['--set', 'parallel.expert=3'], /invalid parallel\.expert: 3 \(/],
          ['a field that does not exist', ['--set', 'model.moe.expertz=3'], /unknown field model\.moe\.expertz/],
        ]
      : [['shards that do not fit', ['--set', 'parallel.shards=3'], /invalid parallel\.shards: 3 \(/]]
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
