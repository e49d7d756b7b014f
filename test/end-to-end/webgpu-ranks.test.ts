/**
 * Trainings on several ranks with a GPU each compute the same as one GPU, over both MPI libraries. The GPU may be a
 * software device, which all ranks of a machine share.
 *
 * @slow
 */
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import { listDevices } from '../../src/engine/dawn/node-device.ts'
import { launchers } from '../../src/engine/world/mpi/testing/launch.ts'
import { input, outcome, rankRuns } from './rank-runs.ts'
import { checkpointsOf, expectSuccess } from './support.ts'

const { gpus } = await listDevices()
vi.setConfig({ testTimeout: 400_000, hookTimeout: 400_000 })
const { train, workspace, newRun } = rankRuns()

const onGpu = (over: RunInput = {}): RunInput =>
  input({ ...over, train: { checkpointEvery: 2, ...over.train }, runtime: { device: 'webgpu' } }, 4)

describe.skipIf(gpus.length === 0 || !launchers.has('Open MPI'))('ranks with a GPU each', () => {
  let one: string
  let two: string
  beforeAll(async () => {
    one = await train('Open MPI', 1, 1, onGpu())
    two = await train('Open MPI', 2, 1, onGpu())
  })

  /** A copy of a run that goes on from step 2. */
  function halfOf(run: string): string {
    const copy = newRun()
    cpSync(run, copy, { recursive: true })
    for (const name of checkpointsOf(copy))
      if (Number(name.slice(-8)) > 2) rmSync(join(copy, 'checkpoints', name), { recursive: true })
    expect(checkpointsOf(copy).length).toBeGreaterThan(0)
    return copy
  }
  const resume = async (run: string, device: string, ranks: number): Promise<string> => {
    const args = ['train', '--resume', run, '--device', device, '--threads', '1', '--json']
    await expectSuccess(ranks === 1 ? workspace().start(...args) : workspace().startRanks('Open MPI', ranks, ...args))
    return run
  }

  test('losses, norms, loads, parameters and moments are bitwise equal to one GPU', async () => {
    expect(outcome(two)).toEqual(outcome(one))
    const engine = (run: string) => JSON.parse(readFileSync(join(run, 'engine.json'), 'utf8'))
    expect(engine(two)).toEqual(engine(one))
    expect(engine(two)).toMatchObject({ device: 'webgpu' })
  })

  test.skipIf(!launchers.has('MPICH'))('also on four ranks, started by MPICH', async () => {
    expect(outcome(await train('MPICH', 4, 1, onGpu()))).toEqual(outcome(one))
  })

  test('a run goes on with any number of GPUs, with the same bits', async () => {
    expect(outcome(await resume(halfOf(one), 'webgpu', 2))).toEqual(outcome(one))
    expect(outcome(await resume(halfOf(two), 'webgpu', 1))).toEqual(outcome(one))
  })

  test('a run moves between GPUs and processors, with the same bits on any number of ranks', async () => {
    const toCpu = outcome(await resume(halfOf(two), 'cpu', 1))
    expect(outcome(await resume(halfOf(two), 'cpu', 2))).toEqual(toCpu)
    const lastLoss = (run: ReturnType<typeof outcome>) => Number(run.metrics.at(-1)?.loss)
    expect(lastLoss(toCpu)).toBeCloseTo(lastLoss(outcome(one)), 4)

    const cpu = await train('Open MPI', 2, 1, { ...onGpu(), runtime: { device: 'cpu', threads: 1 } })
    expect(outcome(await resume(halfOf(cpu), 'webgpu', 2))).toEqual(outcome(await resume(halfOf(cpu), 'webgpu', 1)))
  })

  test.each([
    [{ parallel: { expert: 2 } }, [], /invalid parallel\.expert: 2 \(expected 1 on GPUs: /],
    [{}, ['--gpu', '7'], /invalid --gpu: 7 \(expected .*: 0 is \S/],
    [{ train: { optimizer: { state: 'bf16' } } }, [], /train\.optimizer\.state/],
  ] as [RunInput, string[], RegExp][])('%j %j is refused before anything is written', async (over, flags, message) => {
    const out = newRun()
    const path = workspace().config(onGpu(over))
    const { code, stderr } = await workspace().startRanks('Open MPI', 2, 'train', path, '--out', out, ...flags).ended
    expect(code).toBe(2)
    expect(stderr).toMatch(message)
    expect(existsSync(out)).toBe(false)
  })
})
