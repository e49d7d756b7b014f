/**
 * Dispatches of a training step on a GPU, counted without one: the gradient program of a preset is planned as for a
 * WebGPU device, but not compiled.
 *
 *     npx tsx bench/dispatches.ts S
 *     npx tsx bench/dispatches.ts demo --set model.moe.k=2 --list
 */
import { parseArgs } from 'node:util'
import type { Program } from '../src/graph/program.ts'
import { loadConfig } from '../src/run/load-config.ts'
import type { ArenaKernels } from '../src/runtime/arena-kernels.ts'
import type { Runtime } from '../src/runtime/contract.ts'
import { graphKernels, nodeKernels } from '../src/runtime/webgpu/kernels/table.ts'
import { moduleOf } from '../src/runtime/webgpu/module.ts'
import { type Plan, planProgram } from '../src/runtime/webgpu/program/plan.ts'
import { createStore, Trainer } from '../src/step/trainer.ts'

/** Thrown instead of compiling. */
class Planned extends Error {
  readonly plan: Plan

  constructor(plan: Plan) {
    super('planned')
    this.plan = plan
  }
}

/** A device that plans programs. */
const runtime = {
  device: 'webgpu',
  defers: true,
  threads: 1,
  maxArenaBytes: 2 ** 32 - 256,
  kernels: { names: new Set(Object.keys(graphKernels)), tile: 1, threads: 1 },
  createArena: (byteLength: number) => ({
    byteLength,
    host: null,
    read: async () => new Float32Array(),
    write: async () => {},
  }),
  createArenaKernels: async () => ({ close: async () => {} }) as ArenaKernels,
  compile: async (program: Program) => {
    throw new Planned(planProgram(program, nodeKernels, { f16: false, subgroups: false }))
  },
} as unknown as Runtime

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { set: { type: 'string', multiple: true, default: [] }, list: { type: 'boolean', default: false } },
})
const config = await loadConfig(positionals[0] ?? 'S', values.set)
const begin = performance.now()
const plan = await Trainer.compile(runtime, config, createStore(runtime, config)).then(
  () => Promise.reject(new Error('nothing was compiled')),
  (error: unknown) => {
    if (error instanceof Planned) return error.plan
    throw error
  },
)
const ms = performance.now() - begin
const pipelines = new Set(
  plan.steps.map(({ dispatch, values: of }) =>
    moduleOf(
      dispatch,
      of.map((value) => (plan.values[value] as Plan['values'][number]).dtype),
      of.map((_, i) => i),
    ),
  ),
)
console.log(`dispatches  ${plan.steps.length} of the gradient program`)
console.log(`pipelines   ${pipelines.size} different ones`)
console.log(`memory      ${(plan.bytes / 1e6).toFixed(1)} MB for values`)
console.log(`planning    ${ms.toFixed(0)} ms`)
if (values.list) {
  const counts = new Map<string, number>()
  for (const { dispatch, origin } of plan.steps) {
    const key = `${origin.layer.replace(/\d+/, '*') || '(no layer)'}  ${dispatch.name}`
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  for (const [key, count] of [...counts].sort(([, a], [, b]) => b - a))
    console.log(`${String(count).padStart(5)}  ${key}`)
}
