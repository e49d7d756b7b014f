/**
 * Trainings on several ranks with a GPU each compute the same as one GPU, over both MPI libraries. The GPU may be a
 * software device, which all ranks of a machine share.
 *
 * @slow
 */
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import { listDevices } from '../../src/engine/dawn/node-device.ts'
import { launchers } from '../../src/engine/world/mpi/testing/launch.ts'
import { input, outcome, rankRuns } from './rank-runs.ts'
import { ChoirProcess, checkpointsOf, expectSuccess } from './support.ts'

const { gpus } = await listDevices()
vi.setConfig({ testTimeout: 400_000, hookTimeout: 400_000 })
const { train, workspace, newRun } = rankRuns()

/** The description of a software driver of Vulkan, of which copies count as further GPUs. */
const drivers = '/usr/share/vulkan/icd.d'
const driver = existsSync(drivers) ? readdirSync(drivers).find((name) => name.startsWith('lvp_icd')) : undefined

const readWidth = (run: string): number => JSON.parse(readFileSync(join(run, 'config.json'), 'utf8')).model.width

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

  const other = launchers.has('MPICH') ? 'MPICH' : 'Open MPI'
  test(`also if one of the ranks names its GPU, started by ${other}`, async () => {
    const out = newRun()
    const args = ['train', workspace().config(onGpu()), '--out', out, '--json', '--deadline', '60']
    await expectSuccess(workspace().startRanksWith(other, 2, 1, 'set -- "$@" --gpu 0', ...args))
    expect(outcome(out)).toEqual(outcome(one))
  })

  test('ranks that share experts have the same bits, and their exchanges are counted', async () => {
    const shared = await train('Open MPI', 4, 2, onGpu({ parallel: { ledger: true } }))
    expect(outcome(shared)).toEqual(outcome(one))
    const ledger = readFileSync(join(shared, 'ledger.jsonl'), 'utf8').trim().split('\n')
    for (const line of ledger) {
      const { rows, bytes } = JSON.parse(line) as { rows: number[][]; bytes: number[][] }
      expect(rows.map((row, source) => row[source])).toEqual([0, 0])
      expect(rows.flat().filter((count) => count > 0)).toHaveLength(2)
      // Rows travel to their experts and back, and so do their gradients, beside the sizes.
      const width = 4 * readWidth(shared)
      for (const [i, count] of rows.flat().entries()) expect(bytes.flat()[i]).toBeGreaterThanOrEqual(2 * count * width)
    }
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

    const cpu = await train('Open MPI', 1, 1, { ...onGpu(), runtime: { device: 'cpu', threads: 1 } })
    expect(outcome(await resume(halfOf(cpu), 'webgpu', 2))).toEqual(outcome(await resume(halfOf(cpu), 'webgpu', 1)))
  })

  test.skipIf(driver === undefined)(
    'GPUs with one name are numbered, and the message says how to reach the second',
    async () => {
      const files = ['first.json', 'second.json'].map((name) => workspace().file(name))
      for (const file of files) cpSync(join(drivers, driver as string), file)
      const twice = { command: 'env', args: [], env: { VK_DRIVER_FILES: files.join(':'), CHOIR_GPU: '' } }
      const start = (env: Record<string, string>, ...args: string[]) =>
        new ChoirProcess(args, workspace().path, { ...twice, env: { ...twice.env, ...env } })
      const { stdout } = await expectSuccess(start({}, 'devices', '--json'))
      expect(JSON.parse(stdout).gpus).toHaveLength(2)
      const out = newRun()
      const args = ['train', workspace().config(onGpu()), '--out', out, '--steps', '1', '--json']
      const refused = await start({ CHOIR_GPU: '1' }, ...args).ended
      expect(refused.code).toBe(2)
      expect(refused.stderr).toMatch(
        /GPU 1 cannot be opened: 0 is (.*), 1 is \1, and WebGPU opens the first.*DRI_PRIME/,
      )
      expect(existsSync(out)).toBe(false)
      // A process that sees only the second GPU uses it.
      await expectSuccess(start({ VK_DRIVER_FILES: files[1] as string, CHOIR_GPU: '0' }, ...args))
    },
  )

  test.each([
    [{}, ['--gpu', '7'], /invalid --gpu: 7 \(expected .*: 0 is \S/],
    [{}, ['--device', 'cpu', '--gpu', '0'], /invalid --gpu: 0 \(expected only with --device webgpu\)/],
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
