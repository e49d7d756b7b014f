/** The program on a WebGPU device, which may be a software one: training, resuming, evaluating, generating. */
import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { listDevices } from '../../src/runtime/webgpu/node.ts'
import type { EvalRecord } from '../../src/step/records.ts'
import { ChoirProcess, expectSuccess, results, trainRecords, Workspace } from './support.ts'

const { gpus } = await listDevices()

/** A software device compiles each pipeline for a second, once for a machine. */
const timeout = 400_000

const steps = 30

describe.skipIf(gpus.length === 0)('on a WebGPU device', () => {
  let workspace: Workspace
  beforeAll(() => {
    workspace = new Workspace()
  })
  afterAll(() => workspace.remove())

  const config = (kind: 'adamw' | 'adafactor') =>
    workspace.config({ train: { steps, evalEvery: steps, checkpointEvery: 5, optimizer: { kind } } })

  const train = (device: string, kind: 'adamw' | 'adafactor', out: string) =>
    expectSuccess(workspace.start('train', config(kind), '--out', out, '--device', device, '--json'))

  const evaluation = async (run: string, device: string): Promise<EvalRecord> => {
    const { stdout } = await expectSuccess(workspace.start('eval', run, '--device', device, '--json'))
    return JSON.parse(stdout.trim().split('\n').at(-1) as string)
  }

  test.each(['adamw', 'adafactor'] as const)(
    '%s: the losses of thirty steps are those of the CPU',
    { timeout },
    async (kind) => {
      const [gpu, cpu] = [workspace.file(`gpu ${kind}`), workspace.file(`cpu ${kind}`)]
      await train('webgpu', kind, gpu)
      await train('cpu', kind, cpu)
      const [found, expected] = [trainRecords(gpu), trainRecords(cpu)]
      expect(found.length).toBe(steps)
      expected.forEach(({ loss, grad_norm }, i) => {
        // Rounding grows from step to step, and may in the end change the choice of an expert.
        expect(Math.abs((found[i]?.loss as number) / loss - 1)).toBeLessThan(1e-3)
        expect(Math.abs((found[i]?.grad_norm as number) / grad_norm - 1)).toBeLessThan(1e-2)
      })
      expect(found[0]?.loss).toBeCloseTo(expected[0]?.loss as number, 5)
      expect(JSON.parse(readFileSync(join(gpu, 'engine.json'), 'utf8'))).toMatchObject({ device: 'webgpu' })
      expect((await evaluation(gpu, 'webgpu')).loss).toBeCloseTo((await evaluation(gpu, 'cpu')).loss, 4)
    },
  )

  test('a run that is killed and resumed is bitwise equal to an uninterrupted one', { timeout }, async () => {
    const [whole, killed] = [workspace.file('whole'), workspace.file('killed')]
    await train('webgpu', 'adamw', whole)
    const running = workspace.start('train', config('adamw'), '--out', killed, '--device', 'webgpu', '--json')
    await running.step(17)
    running.kill('SIGKILL')
    await running.ended
    await expectSuccess(workspace.start('train', '--resume', killed, '--json'))
    expect(results(killed)).toEqual(results(whole))
  })

  test('checkpoints do not know the device: a run goes on on the CPU, and the text is the same', {
    timeout,
  }, async () => {
    const [gpu, cpu] = [workspace.file('moved'), workspace.file('gpu adamw')]
    const running = workspace.start('train', config('adamw'), '--out', gpu, '--device', 'webgpu', '--json')
    await running.step(12)
    running.kill('SIGINT')
    expect((await running.ended).code).toBe(130)
    cpSync(gpu, workspace.file('copy'), { recursive: true })
    await expectSuccess(workspace.start('train', '--resume', gpu, '--device', 'cpu', '--json'))
    expect(trainRecords(gpu).at(-1)?.loss).toBeCloseTo(trainRecords(cpu).at(-1)?.loss as number, 2)
    const text = async (device: string) => {
      const args = ['--prompt', 'The', '--tokens', '40', '--temperature', '0', '--device', device]
      return (await expectSuccess(workspace.start('generate', workspace.file('copy'), ...args))).stdout
    }
    expect(await text('webgpu')).toBe(await text('cpu'))
  })

  test('the profile of a step has its kernels', { timeout }, async () => {
    const out = workspace.file('profiled')
    const trace = workspace.file('trace.json')
    const flags = ['--steps', '6', '--device', 'webgpu', '--profile', '--trace', trace, '--json']
    const { stdout } = await expectSuccess(workspace.start('train', config('adamw'), '--out', out, ...flags))
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    const { nodes, microseconds } = lines.find(({ kind }) => kind === 'profile')
    const all: { kind: string; provider: string; layer: string; microseconds: number }[] = nodes
    expect(all.every(({ provider }) => provider === 'WebGPU')).toBe(true)
    expect(all.map(({ layer }) => layer)).toContain('layers.1.moe.experts')
    expect(all.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['adamw', 'sumOfSquares', 'attention']))
    expect(all.reduce((sum, node) => sum + node.microseconds, 0)).toBeLessThan(microseconds)
    expect(existsSync(trace)).toBe(true)
  })

  test('devices are listed with their limits', async () => {
    const { stdout } = await expectSuccess(workspace.start('devices', '--json'))
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'devices', problem: null })
    expect(JSON.parse(stdout).gpus[0].maxBindingBytes).toBeGreaterThan(2 ** 26)
  })
})

test('without a GPU there is one message with advice, and nothing is left behind', { timeout }, async () => {
  const workspace = new Workspace()
  // No driver of Vulkan, none of any other system.
  const env = { VK_DRIVER_FILES: '/nonexistent', VK_ICD_FILENAMES: '/nonexistent' }
  const args = ['train', workspace.config(), '--out', workspace.file('run'), '--device', 'webgpu']
  const { code, stderr } = await new ChoirProcess(args, workspace.path, { command: 'env', args: [], env }).ended
  expect(code).toBe(2)
  expect(stderr).toMatch(/choir: no GPU: .*--device cpu/)
  expect(readdirSync(workspace.file('run'))).toEqual([])
  workspace.remove()
})
