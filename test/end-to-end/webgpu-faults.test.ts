/**
 * Kills and faults of trainings and studies on a WebGPU device, which may be a software one.
 *
 * @slow
 */
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { listDevices } from '../../src/engine/dawn/node-device.ts'
import type { RunRecord } from '../../src/tools/study/contract.ts'
import { readStored } from '../../src/tools/study/testing/stored.ts'
import { ChoirProcess, checkpointsOf, expectSuccess, results, trainRecords, Workspace } from './support.ts'

const { gpus } = await listDevices()

/** A long timeout: a software device takes a second to compile each pipeline, once for a machine. */
const timeout = 400_000

describe.skipIf(gpus.length === 0)('on a WebGPU device', () => {
  let workspace: Workspace
  let config: string
  /** A run that nothing disturbed. */
  let whole: string
  beforeAll(async () => {
    workspace = new Workspace()
    // The seeds equal the seeds that a study sets.
    config = workspace.config({ train: { steps: 20, evalEvery: 20, checkpointEvery: 5, seed: 1 }, data: { order: 1 } })
    whole = workspace.file('whole')
    await expectSuccess(workspace.start('train', config, '--out', whole, '--device', 'webgpu', '--json'))
  }, timeout)
  afterAll(() => workspace.remove())

  test('a run that ends by SIGKILL, then by SIGINT, and is resumed is bitwise equal to an uninterrupted one', {
    timeout,
  }, async () => {
    const run = workspace.file('interrupted')
    const first = workspace.start('train', config, '--out', run, '--device', 'webgpu', '--json')
    await first.step(7)
    first.kill('SIGKILL')
    expect((await first.ended).code).toBe(null)
    const second = workspace.start('train', '--resume', run, '--json')
    await second.step(12)
    second.kill('SIGINT')
    expect((await second.ended).code).toBe(130)
    await expectSuccess(workspace.start('train', '--resume', run, '--json'))
    expect(results(run)).toEqual(results(whole))
  })

  test('a fault in mid-run gives one message, and the last checkpoint is intact', { timeout }, async () => {
    const run = workspace.file('faults')
    const trainWith = async (fault: string, checkpoint: string, ...args: string[]) => {
      const env = {
        NODE_OPTIONS: `--import ${pathToFileURL(fileURLToPath(new URL('../support/gpu-fault.mjs', import.meta.url)))}`,
        CHOIR_GPU_FAULT: fault,
        CHOIR_GPU_FAULT_AFTER: join(run, 'checkpoints', checkpoint),
      }
      const world = { command: 'env', args: [], env }
      const { code, stderr } = await new ChoirProcess(['train', ...args, '--json'], workspace.path, world).ended
      expect(code, fault).toBe(1)
      expect(checkpointsOf(run).at(-1), fault).toBe(checkpoint)
      return stderr
        .trimEnd()
        .split('\n')
        .filter((line) => !line.startsWith('Warning: max') && !line.includes('slower than --device cpu'))
    }
    const memory = await trainWith('memory', 'step-00000005', config, '--out', run, '--device', 'webgpu')
    expect(memory).toEqual([
      expect.stringMatching(/^choir: out of memory on the GPU \(use a smaller train.batch, .*\)$/),
    ])
    const command = await trainWith('command', 'step-00000010', '--resume', run)
    expect(command).toEqual([expect.stringMatching(/^choir: internal: the GPU refused a command: .*CreateBuffer.*$/)])
    await expectSuccess(workspace.start('train', '--resume', run, '--json'))
    expect(results(run)).toEqual(results(whole))
  })

  test('a study that is killed and restarted has the losses of an undisturbed training', {
    timeout,
  }, async () => {
    const set = { ...workspace.assignments(), 'train.steps': 20, 'train.evalEvery': 20 }
    const file = workspace.file('study.json')
    writeFileSync(file, JSON.stringify({ base: 'tiny', seeds: [1], arms: { only: {} }, set }))
    const out = workspace.file('study')
    const study = () => workspace.start('study', file, '--device', 'webgpu', '--jobs', '1', '--out', out, '--json')
    const running = study()
    await running.line(({ kind, step }) => kind === 'progress' && Number(step) > 2)
    running.kill('SIGKILL')
    await running.ended
    await delay(1500) // its run saves and exits by itself
    await expectSuccess(study())
    const { records } = readStored<{ records: RunRecord[] }>(out)
    expect(records).toHaveLength(1)
    for (const record of records) {
      if (record.status !== 'finished') throw new Error(record.error)
      expect(record.engine).toContain('WebGPU')
      expect(record.train.step).toHaveLength(20)
    }
    // The arm has no settings of its own, so it is the same training.
    const [only] = readdirSync(join(out, 'runs')) as [string]
    const lossesOf = (run: string) => trainRecords(run).map(({ loss }) => loss)
    expect(lossesOf(join(out, 'runs', only))).toEqual(lossesOf(whole))
  })
})
