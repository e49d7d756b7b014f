/**
 * A thread of the crew. All threads walk through the steps of a program together: a kernel's tasks are
 * shared out, an ONNX model is run by the first thread (ONNX Runtime has a pool of its own) while the
 * others sleep. It only ever runs as its own thread, from the build (see crew.ts).
 */
import { parentPort, workerData } from 'node:worker_threads'
import koffi from 'koffi'
import { RuntimeError } from '../contract.ts'
import { Dnnl } from '../onednn/dnnl.ts'
import { Meeting } from './barrier.ts'
import type { KernelThread, PreparedCall, RowFunctions } from './contract.ts'
import { opKernels } from './kernels/table.ts'
import type { CrewData, Failure, Order, Report, Script } from './script.ts'

/** The part of `WebAssembly` that is used (TypeScript declares it for browsers only). */
declare const WebAssembly: {
  Instance: new (module: unknown, imports: { env: { memory: unknown } }) => { readonly exports: RowFunctions }
}

const { thread, threads, control, ortRun, dnnl: dnnlPath, math, wasm } = workerData as CrewData
const leader = thread === 0
const meeting = new Meeting(control, threads)
const dnnl = dnnlPath === null ? null : new Dnnl(dnnlPath, math)
const pointer = 'uintptr_t'
const run: (...args: readonly number[]) => number = koffi.decode(
  BigInt(ortRun),
  koffi.proto(pointer, [pointer, pointer, pointer, pointer, 'size_t', pointer, 'size_t', pointer]),
)

/** Milliseconds on a clock that all threads share: each counts from its own start. */
const origin = performance.timeOrigin
const now = (): number => origin + performance.now()

interface Program {
  readonly script: Script
  readonly prepared: readonly (PreparedCall | null)[]
  readonly bytes: Uint8Array
  /** Of this thread. */
  readonly times: Float64Array
}
const programs = new Map<number, Program>()

function open(script: Script): Program {
  const { buffer } = script.memory
  const scratch = script.scratch[thread]
  if (!scratch) throw new RuntimeError(`internal: no scratch memory for thread ${thread}`)
  const context: KernelThread = {
    threads,
    get dnnl() {
      if (!dnnl) throw new RuntimeError('internal: a kernel needs oneDNN, which is not there')
      return dnnl
    },
    rows: new WebAssembly.Instance(wasm, { env: { memory: script.memory } }).exports,
    floats: new Float32Array(buffer),
    integers: new Int32Array(buffer),
    scratch,
  }
  const prepared = script.steps.map((step) => {
    if (step.kind === 'onnx') return null
    const kernel = opKernels[step.call.type]
    if (!kernel) throw new RuntimeError(`internal: no kernel ${step.call.type}`)
    return kernel.prepare(step.call, context)
  })
  const length = script.steps.length * 2
  const times = new Float64Array(script.times, thread * length * 8, length)
  return { script, prepared, bytes: new Uint8Array(buffer), times }
}

/** Runs a program together with the other threads. The leader reports the end, or the first thread that fails. */
function runProgram({ script, prepared, bytes, times }: Program): void {
  const { steps } = script
  if (leader) for (const { offset, bytes: data } of script.constants) bytes.set(data, offset)
  meeting.meet()
  for (let i = 0; i < steps.length; i++) {
    const step = steps[i] as Script['steps'][number]
    times[2 * i] = now()
    const failure = attempt(step, prepared[i] ?? null, i)
    const first = failure !== undefined && meeting.fail(i)
    times[2 * i + 1] = now()
    // ONNX Runtime needs all cores for its own threads.
    meeting.meet(step.kind === 'onnx')
    if (!meeting.failed(i)) continue
    // Once more, so that nobody begins another run before all have seen the failure of this one.
    meeting.meet()
    if (first) report(failure)
    return
  }
  if (leader) report({ kind: 'done' })
}

/** This thread's part of a step. */
function attempt(step: Script['steps'][number], call: PreparedCall | null, at: number): Failure | undefined {
  try {
    if (call) for (let task = meeting.take(); task < call.tasks; task = meeting.take()) call.run(task)
    else if (leader && step.kind === 'onnx') {
      const status = run(...step.args)
      if (status) return { kind: 'status', step: at, status }
    }
    return undefined
  } catch (error) {
    return { kind: 'exception', step: at, message: error instanceof Error ? error.message : String(error) }
  }
}

function report(report: Report): void {
  parentPort?.postMessage(report)
}

parentPort?.on('message', (order: Order) => {
  if (order.kind === 'open') programs.set(order.program, open(order.script))
  else if (order.kind === 'close') programs.delete(order.program)
  else runProgram(programs.get(order.program) as Program)
})
report({ kind: 'ready' })
