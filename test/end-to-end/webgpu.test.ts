/**
 * The program on a WebGPU device, which may be a software one: training and other commands.
 *
 * @slow
 */
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { listDevices } from '../../src/engine/dawn/node-device.ts'
import type { Collection, TokenTrace } from '../../src/faces/watch/api.ts'
import type { EvalRecord } from '../../src/train/step/metrics/records.ts'
import { pastedText, traceText } from '../../src/use/infer/text-trace.ts'
import { openTracer } from '../../src/use/runs/routing-trace.ts'
import { ChoirProcess, checkpointsOf, expectSuccess, trainRecords, Workspace } from './support.ts'

const { gpus } = await listDevices()

/** A long timeout: a software device takes a second to compile each pipeline, once for a machine. */
const timeout = 400_000

const steps = 15

/** Environment in which no driver of Vulkan is found, and so no GPU. */
const noDrivers = { VK_DRIVER_FILES: '/nonexistent', VK_ICD_FILENAMES: '/nonexistent' }

describe.skipIf(gpus.length === 0)('on a WebGPU device', () => {
  let workspace: Workspace
  /** The same training on both devices. */
  let whole: string
  let onCpu: string
  beforeAll(async () => {
    workspace = new Workspace()
    const config = workspace.config({ train: { steps, evalEvery: steps, checkpointEvery: 5 } })
    whole = workspace.file('gpu')
    onCpu = workspace.file('cpu')
    const trainOn = (device: string, out: string) =>
      expectSuccess(workspace.start('train', config, '--out', out, '--device', device))
    await Promise.all([trainOn('webgpu', whole), trainOn('cpu', onCpu)])
  }, timeout)
  afterAll(() => workspace.remove())

  const evaluation = async (run: string, device: string): Promise<EvalRecord> => {
    const { stdout } = await expectSuccess(workspace.start('eval', run, '--device', device, '--json'))
    return JSON.parse(stdout.trim().split('\n').at(-1) as string)
  }

  test('the losses of fifteen steps equal the losses of the CPU, up to rounding', { timeout }, async () => {
    const [found, expected] = [trainRecords(whole), trainRecords(onCpu)]
    expect(found.length).toBe(steps)
    expected.forEach(({ loss, grad_norm }, i) => {
      // Rounding grows from step to step, and may in the end change the choice of an expert.
      expect(Math.abs((found[i]?.loss as number) / loss - 1)).toBeLessThan(1e-3)
      expect(Math.abs((found[i]?.grad_norm as number) / grad_norm - 1)).toBeLessThan(1e-2)
    })
    expect(found[0]?.loss).toBeCloseTo(expected[0]?.loss as number, 5)
    expect(JSON.parse(readFileSync(join(whole, 'engine.json'), 'utf8'))).toMatchObject({ device: 'webgpu' })
    expect((await evaluation(whole, 'webgpu')).loss).toBeCloseTo((await evaluation(whole, 'cpu')).loss, 4)
  })

  test('a training from weights of another run, some frozen, has the losses of the CPU, and its profile has the kernels', {
    timeout,
  }, async () => {
    const freeze = ['--freeze', 'embedding', '--freeze', '*.router', '--freeze', 'layers.0']
    const [gpu, cpu, trace] = [workspace.file('further gpu'), workspace.file('further cpu'), workspace.file('trace')]
    const args = ['train', '--from', onCpu, '--steps', '4', '--threads', '1', ...freeze]
    const profiling = ['--device', 'webgpu', '--profile', '--trace', trace, '--json']
    const { stdout } = await expectSuccess(workspace.start(...args, ...profiling, '--out', gpu))
    await expectSuccess(workspace.start(...args, '--out', cpu))
    const [found, expected] = [trainRecords(gpu), trainRecords(cpu)]
    expect(found.length).toBe(4)
    expected.forEach(({ loss, grad_norm }, i) => {
      expect(found[i]?.loss).toBeCloseTo(loss, 4)
      expect(found[i]?.grad_norm).toBeCloseTo(grad_norm, 3)
    })
    const census = (checkpoint: string): Record<string, string> =>
      JSON.parse(readFileSync(join(gpu, 'checkpoints', checkpoint, 'state.json'), 'utf8')).census
    const [before, after] = [census('step-00000000'), census('step-00000004')]
    const parameters = Object.keys(before).filter((name) => !name.includes('exp_avg'))
    const same = parameters.filter((name) => before[name] === after[name])
    expect(same.length).toBeGreaterThan(5)
    expect(same).toEqual(parameters.filter((name) => /^embedding$|\.router$|^layers\.0\./.test(name)))

    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    const { nodes, microseconds, peak_flops: peakFlops, bandwidth } = lines.find(({ kind }) => kind === 'profile')
    const all: { kind: string; provider: string; layer: string; microseconds: number; flops?: number }[] = nodes
    expect(all.every(({ provider }) => provider === 'WebGPU')).toBe(true)
    expect(all.map(({ layer }) => layer)).toContain('layers.1.moe.experts')
    expect(all.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['adamw', 'sumOfSquares', 'attention']))
    expect(all.reduce((sum, node) => sum + node.microseconds, 0)).toBeLessThan(microseconds)
    // Ceilings of the device, and operations and bytes to compare with them.
    expect(Math.min(peakFlops, bandwidth)).toBeGreaterThan(1e6)
    expect(all.find(({ kind }) => kind.startsWith('product'))?.flops).toBeGreaterThan(0)
    expect(existsSync(trace)).toBe(true)
  })

  test('the dashboard traces the experts of a text without a GPU, and they equal the experts on the GPU', {
    timeout,
  }, async () => {
    const without = { command: 'env', args: [], env: noDrivers }
    const watching = new ChoirProcess(['watch', whole, '--port', '0', '--json'], workspace.path, without)
    const { address } = await watching.line(({ kind }) => kind === 'watch')
    const ask = async <Answer>(path: string, body?: object): Promise<Answer> => {
      const headers = { 'content-type': 'application/json' }
      const init = body && { method: 'POST', headers, body: JSON.stringify(body) }
      const response = await fetch(new URL(path, String(address)), init)
      expect(response.status).toBe(200)
      return response.json() as Promise<Answer>
    }
    const [run] = (await ask<Collection>('/api/collection')).runs
    const trace = await ask<TokenTrace>('/api/trace', { run: run?.id, text: 'war and peace' })
    watching.kill('SIGINT')
    await watching.ended
    expect(trace.tokens.join('')).toBe('war and peace')
    expect(trace.routers).toHaveLength(2)
    const tracer = await openTracer(whole, 'none', { device: 'webgpu' }, () => {})
    const { tokenizer } = tracer
    const onGpu = await traceText(tracer, pastedText(await tokenizer.encode('war and peace'), tokenizer), false)
    await tracer.close()
    const experts = ({ routers }: Pick<TokenTrace, 'routers'>) => routers.map(({ expert }) => expert)
    expect(experts(onGpu)).toEqual(experts(trace))
    expect(onGpu.loss).toBeCloseTo(trace.loss as number, 4)
  })

  test('checkpoints do not depend on the device: a run goes on on the CPU, and both devices generate the same text', {
    timeout,
  }, async () => {
    const moved = workspace.file('moved')
    cpSync(whole, moved, { recursive: true })
    for (const checkpoint of checkpointsOf(moved).slice(1))
      rmSync(join(moved, 'checkpoints', checkpoint), { recursive: true })
    const text = async (device: string) => {
      const args = ['--prompt', 'The', '--tokens', '40', '--temperature', '0', '--device', device]
      return (await expectSuccess(workspace.start('generate', moved, ...args))).stdout
    }
    expect(await text('webgpu')).toBe(await text('cpu'))
    await expectSuccess(workspace.start('train', '--resume', moved, '--device', 'cpu'))
    expect(trainRecords(moved).at(-1)?.loss).toBeCloseTo(trainRecords(onCpu).at(-1)?.loss as number, 2)
  })

  test('devices are listed with their limits', async () => {
    const { stdout } = await expectSuccess(workspace.start('devices', '--json'))
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'devices', problem: null })
    expect(JSON.parse(stdout).gpus[0].max_binding_bytes).toBeGreaterThan(2 ** 26)
  })
})

test('without a GPU there is one message with advice, and nothing is left behind', { timeout }, async () => {
  const workspace = new Workspace()
  const args = ['train', workspace.config(), '--out', workspace.file('run'), '--device', 'webgpu']
  const { code, stderr } = await new ChoirProcess(args, workspace.path, { command: 'env', args: [], env: noDrivers })
    .ended
  expect(code).toBe(2)
  expect(stderr).toMatch(/choir: no GPU: .*--device cpu/)
  expect(existsSync(workspace.file('run'))).toBe(false)
  workspace.remove()
})
