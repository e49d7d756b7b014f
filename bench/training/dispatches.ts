/**
 * Counts the dispatches (starts of a GPU kernel) of a training step, without a GPU: a step of a preset is planned,
 * bound and recorded as on a WebGPU device, but nothing is compiled or computed.
 *
 *     npx tsx bench/training/dispatches.ts S
 *     npx tsx bench/training/dispatches.ts S --math f16
 *     npx tsx bench/training/dispatches.ts demo --set model.moe.k=2 --list
 */
import { parseArgs } from 'node:util'
import { UsageError } from '../../src/core/errors.ts'
import type { Device } from '../../src/engine/webgpu/device.ts'
import type { DeviceExecutable } from '../../src/engine/webgpu/executable.ts'
import type { LoweredProgram } from '../../src/engine/webgpu/program/lower-program.ts'
import { createDeviceRuntime } from '../../src/engine/webgpu/runtime.ts'
import { loadConfig } from '../../src/node/run/load-config.ts'
import { createStore, Trainer } from '../../src/train/step/trainer.ts'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    set: { type: 'string', multiple: true, default: [] },
    math: { type: 'string', default: 'float32' },
    list: { type: 'boolean', default: false },
  },
})
const { math } = values
if (math !== 'float32' && math !== 'f16')
  throw new UsageError(`invalid --math: ${JSON.stringify(math)} (expected float32 or f16)`)

Object.assign(globalThis, { GPUBufferUsage: { MAP_READ: 1, COPY_DST: 8 }, GPUMapMode: { READ: 1 } })

/** Everything that a step submits: names of its dispatches, and the numbers of submits and of readbacks. */
const recorded = { dispatches: [] as string[], submits: 0, readbacks: 0 }
const pipelines = new Map<string, object>()
const nothing = () => {}

const pass = {
  name: '',
  setPipeline: ({ label }: { label: string }) => {
    pass.name = label
  },
  setBindGroup: nothing,
  dispatchWorkgroups: () => recorded.dispatches.push(pass.name),
  dispatchWorkgroupsIndirect: () => recorded.dispatches.push(pass.name),
  end: nothing,
}

/** Stands in for the device of WebGPU. Its 8 storage buffers per shader stage are the limit that every device has. */
const gpu = {
  limits: { maxBufferSize: 2 ** 32, maxStorageBufferBindingSize: 2 ** 30, maxStorageBuffersPerShaderStage: 8 },
  features: new Set(),
  queue: { submit: () => recorded.submits++, writeBuffer: nothing, onSubmittedWorkDone: async () => {} },
  createBuffer: ({ size }: { size: number }) => ({
    size,
    mapAsync: async () => recorded.readbacks++,
    getMappedRange: (offset: number, bytes: number) => new ArrayBuffer(bytes - offset),
    unmap: nothing,
    destroy: nothing,
  }),
  createBindGroup: () => ({}),
  createCommandEncoder: () => ({ beginComputePass: () => pass, copyBufferToBuffer: nothing, finish: () => ({}) }),
  pushErrorScope: nothing,
  popErrorScope: async () => null,
  destroy: nothing,
}

const device = {
  gpu,
  adapter: { name: 'none', vendor: '', architecture: '', description: '', software: false },
  features: { f16: math === 'f16' },
  pipeline(code: string, label: string) {
    const known = pipelines.get(code) ?? { label, getBindGroupLayout: () => ({}) }
    pipelines.set(code, known)
    return known
  },
  compile: async () => {},
  wait: (result: Promise<unknown>) => result,
  check: nothing,
  idle: async () => {},
  destroy: nothing,
} as unknown as Device

const config = await loadConfig(positionals[0] ?? 'S', values.set)
const runtime = createDeviceRuntime(device, { math })
const plans: LoweredProgram[] = []
const compile = runtime.compile.bind(runtime)
runtime.compile = async (...program) => {
  const executable = (await compile(...program)) as DeviceExecutable
  plans.push(executable.model)
  return executable
}
const begin = performance.now()
const trainer = await Trainer.compile(runtime, config, createStore(runtime, config))
const ms = performance.now() - begin
const tokens = new Int32Array(config.train.batch * config.model.sequence)
await trainer.step(1, { tokens, targets: tokens })
Object.assign(recorded, { dispatches: [], submits: 0, readbacks: 0 })
await trainer.step(2, { tokens, targets: tokens })

// With micro-batches, the second program runs for all micro-batches but the first.
const runs = (program: number) => (program === 0 ? 1 : config.train.microBatches - 1)
const gradient = plans.reduce((sum, { steps }, i) => sum + steps.length * runs(i), 0)
const total = recorded.dispatches.length
console.log(`dispatches  ${total} of a step: ${gradient} of the gradient program, ${total - gradient} of the update`)
console.log(`pipelines   ${pipelines.size} different ones`)
console.log(`waits       ${recorded.submits} submits, ${recorded.readbacks} readbacks`)
console.log(`memory      ${(Math.max(...plans.map(({ bytes }) => bytes)) / 1e6).toFixed(1)} MB for values`)
console.log(`planning    ${ms.toFixed(0)} ms`)
if (values.list) {
  const counts = new Map<string, number>()
  const count = (layer: string, name: string) => {
    const key = `${layer.replace(/\d+/, '*') || '(no layer)'}  ${name}`
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  for (const { steps } of plans) for (const { dispatch, origin } of steps) count(origin.layer, dispatch.name)
  const names = new Set(plans.flatMap(({ steps }) => steps.map(({ dispatch }) => dispatch.name)))
  for (const name of recorded.dispatches) if (!names.has(name)) count('update', name)
  for (const [key, n] of [...counts].sort(([, a], [, b]) => b - a)) console.log(`${String(n).padStart(5)}  ${key}`)
}
