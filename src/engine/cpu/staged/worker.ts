/**
 * A thread of the crew. All threads go through the steps of a program together: they share the tasks of a
 * kernel; the first thread runs ONNX models (ONNX Runtime has its own thread pool) while the others sleep, and
 * kernels of a single task. Such kernels in a row are run without a meeting in between.
 * This file runs only as a worker thread, from the build (see crew.ts).
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { SharedMemory } from '../../contract/arena.ts'
import { channels } from '../../contract/ranks.ts'
import { now } from '../../contract/recording.ts'
import { NOT_POSTED, RuntimeError, TooManyRows } from '../../contract/runtime.ts'
import { OrderRing } from '../../world/mpi/ring.ts'
import { Mlas } from '../primitives/mlas/mlas.ts'
import { Dnnl } from '../primitives/onednn/dnnl.ts'
import { ortRunAt } from '../primitives/ort-run.ts'
import type { Primitives } from '../primitives/primitives.ts'
import { opFunctions } from '../wasm/module.ts'
import { Barrier } from './barrier.ts'
import type { KernelMemory, KernelThread, PreparedCall } from './contract.ts'
import { opKernels } from './kernels/table.ts'
import { LoggedRing } from './logged-ring.ts'
import type { CrewData, Failure, Order, Report, Script } from './script.ts'

const { thread, threads, control, ortRun, dnnl: dnnlPath, math, group: place, orderLog, wasm } = workerData as CrewData
const leader = thread === 0
const barrier = new Barrier(control, threads)
const ring = place && orderLog && new LoggedRing(place, orderLog)
/** The ring for early orders and arriving inputs, which are not logged as the orders of kernels are. */
const orderRing = place && new OrderRing(place.orders)
const group = place && ring && { ...place, ring, channel: channels.experts }
// Primitives come first: in a thread that has loaded no library, koffi 3.3 crashes when it calls a function by address.
const primitives: Primitives = dnnlPath === null ? new Mlas() : new Dnnl(dnnlPath, math)
const run = ortRunAt(BigInt(ortRun))

interface Program {
  readonly script: Script
  readonly prepared: readonly (PreparedCall | null)[]
  /** The step at whose end all threads meet next, for each step. */
  readonly meetings: readonly number[]
  readonly bytes: Uint8Array
  /** Begin and end of each step on this thread. */
  readonly times: Float64Array
  /** Posts the early orders of each step. */
  readonly post: readonly (() => void)[]
  /** Waits for the inputs that arrive before each step. */
  readonly wait: readonly (() => void)[]
}
const programs = new Map<number, Program>()

function open(script: Script): Program {
  const { buffer } = script.memory
  const scratch = script.scratch[thread]
  if (!scratch) throw new RuntimeError(`internal: no scratch memory for thread ${thread}`)
  const memories = [
    memoryOf(script.memory, scratch.offset),
    ...script.beside.map(({ memory, scratch }) => memoryOf(memory, scratch?.[thread] ?? null)),
  ] as [KernelMemory, ...KernelMemory[]]
  const [{ functions, floats }] = memories
  const integers = new Int32Array(buffer)
  const context: KernelThread = { threads, group, primitives, functions, floats, integers, scratch, memories }
  const prepared = script.steps.map((step) => {
    if (step.kind === 'onnx') return null
    const kernel = opKernels[step.call.kernel]
    if (!kernel) throw new RuntimeError(`internal: no kernel ${step.call.kernel}`)
    return kernel.prepare(step.call, context)
  })
  const length = script.steps.length * 2
  const times = new Float64Array(script.times, thread * length * 8, length)
  return {
    script,
    prepared,
    meetings: meetingsOf(script.steps.map((step, i) => isAlone(step, prepared[i] ?? null))),
    bytes: new Uint8Array(buffer),
    times,
    post: earlyPosts(script),
    wait: arrivals(script),
  }
}

function memoryOf(memory: SharedMemory, scratch: number | null): KernelMemory {
  const { buffer } = memory
  return {
    functions: opFunctions(wasm, memory),
    bytes: new Uint8Array(buffer),
    floats: new Float32Array(buffer),
    scratch,
  }
}

/** Whether the leader runs a step alone: a kernel of a single task, or a short ONNX stage. */
const isAlone = (step: Script['steps'][number], call: PreparedCall | null): boolean =>
  step.kind === 'onnx' ? step.alone : call !== null && call.tasks <= 1

/** The meetings of the steps: threads meet after each step, but not between two steps that the leader runs alone. */
function meetingsOf(alone: readonly boolean[]): number[] {
  const meetings = alone.map((_, i) => i)
  for (let i = alone.length - 2; i >= 0; i--) if (alone[i] && alone[i + 1]) meetings[i] = meetings[i + 1] as number
  return meetings
}

/** A function for each step that posts the early orders that are due before it. */
function earlyPosts({ steps, early, tickets }: Script): (() => void)[] {
  if (!orderRing) return []
  const ticketOf = new Float64Array(tickets)
  return steps.map((_, step) => {
    const orders = [...early.entries()].filter(([, { before }]) => before === step)
    return () => {
      for (const [i, { channel, transfers }] of orders) ticketOf[i] = orderRing.post(channel, transfers, true)
    }
  })
}

/** A function for each step that waits for the exchanges whose inputs the step is the first to read. */
function arrivals({ steps, arriving, arrivals }: Script): (() => void)[] {
  if (!orderRing) return []
  const waited = new Float64Array(arrivals, 0, 1)
  const ticketOf = new Float64Array(arrivals, 8)
  return steps.map((_, step) => {
    const exchanges = [...arriving.keys()].filter((i) => arriving[i] === step)
    return () => {
      for (const i of exchanges) {
        const ticket = ticketOf[i] as number
        if (ticket === NOT_POSTED) continue
        const begin = now()
        orderRing.wait(ticket)
        if (leader) waited[0] = (waited[0] as number) + now() - begin
      }
    }
  })
}

/**
 * Runs a program together with the other threads, from step `from` on. The leader reports the end, or the first thread
 * that fails a failure.
 */
function runProgram(program: Program, early: boolean, from: number): void {
  const { script, prepared, meetings, bytes, times, post, wait } = program
  const { steps } = script
  if (leader) for (const { offset, bytes: data } of script.constants) bytes.set(data, offset)
  barrier.wait()
  for (let i = from; i < steps.length; i++) {
    const step = steps[i] as Script['steps'][number]
    const meeting = meetings[i] as number
    if (!leader && meeting > i) {
      times[2 * i] = now()
      times[2 * i + 1] = times[2 * i] as number
      continue
    }
    if (ring) ring.stage = i
    const begin = () => {
      wait[i]?.()
      times[2 * i] = now()
      if (leader && early) post[i]?.()
    }
    const failure = attempt(step, prepared[i] ?? null, i, begin)
    const first = failure !== undefined && barrier.fail(meeting)
    times[2 * i + 1] = now()
    if (meeting > i && !failure) continue
    // Sleep at once during a long ONNX stage: ONNX Runtime needs all cores for its own threads.
    barrier.wait(step.kind === 'onnx' && !step.alone)
    if (!barrier.failed(meeting)) continue
    // Wait again, so that no thread begins another run before all have seen this failure.
    barrier.wait()
    if (first) report(failure)
    return
  }
  if (leader) report({ kind: 'done' })
}

/** Runs this thread's part of a step, after `begin`. */
function attempt(
  step: Script['steps'][number],
  call: PreparedCall | null,
  at: number,
  begin: () => void,
): Failure | undefined {
  try {
    begin()
    if (call && isAlone(step, call)) {
      if (leader && call.tasks === 1) call.run(0)
    } else if (call) for (let task = barrier.takeTask(); task < call.tasks; task = barrier.takeTask()) call.run(task)
    else if (leader && step.kind === 'onnx') {
      const status = run(...step.args)
      if (status) return { kind: 'status', step: at, status }
    }
    return undefined
  } catch (error) {
    return failureOf(error, at)
  }
}

function failureOf(error: unknown, step: number): Failure {
  if (!(error instanceof TooManyRows))
    return { kind: 'exception', step, message: error instanceof Error ? error.message : String(error) }
  try {
    // The run continues in other memory, so no transfer may still read or write this memory.
    ring?.settle()
  } catch (failure) {
    return failureOf(failure, step)
  }
  return { kind: 'rows', step, rows: error.rows, room: error.room }
}

function report(report: Report): void {
  parentPort?.postMessage(report)
}

/** Number of programs that are closed between two collections of garbage. */
const CLOSED = 64
let closed = 0

function close(program: number, frees: boolean): void {
  programs.delete(program)
  if (frees || ++closed % CLOSED === 0) collectGarbage()
}

/** Frees the memory of closed programs: a thread allocates so little that it would not collect them itself for long. */
const collectGarbage = (): void => globalThis.gc?.()

parentPort?.on('message', (order: Order) => {
  if (order.kind === 'open') programs.set(order.program, open(order.script))
  else if (order.kind === 'close') close(order.program, order.frees)
  else if (order.kind === 'rest') collectGarbage()
  else runProgram(programs.get(order.program) as Program, order.early, order.from)
})
report({ kind: 'ready' })
