/**
 * The crew from outside: threads that run staged programs, one program at a time.
 *
 * The JavaScript thread sends each thread one message a run and hears one back, so it stays free meanwhile. Threads
 * run from the build, also when the code around them is TypeScript run by a test: a thread needs
 * JavaScript, and `src/` and `dist/` are equally deep.
 */
import { Worker } from 'node:worker_threads'
import type { Precision } from '../contract.ts'
import { RuntimeError } from '../contract.ts'
import { kernelModule } from '../wasm/module.ts'
import { CONTROL_BYTES, Meeting } from './barrier.ts'
import type { CrewData, Failure, Order, Report, Script } from './script.ts'

const built = new URL('../../../dist/runtime/', import.meta.url)

export interface CrewOptions {
  readonly threads: number
  readonly ortRun: number
  readonly dnnl: string | null
  readonly math: Precision
}

export class Crew {
  private readonly workers: readonly Worker[]
  private readonly meeting: Meeting
  private programs = 0
  /** The run in progress, or the last. */
  private running: Promise<unknown> = Promise.resolve()
  private settle: ((report: Report) => void) | undefined
  private ended: Error | undefined

  private constructor(workers: readonly Worker[], meeting: Meeting) {
    this.workers = workers
    this.meeting = meeting
  }

  /** @throws RuntimeError when the threads have not been built, or cannot start. */
  static async start({ threads, ...options }: CrewOptions): Promise<Crew> {
    const wasm = await kernelModule()
    const control = new SharedArrayBuffer(CONTROL_BYTES)
    const workers = Array.from({ length: threads }, (_, thread) => {
      const workerData: CrewData = { thread, threads, control, wasm, ...options }
      // Options of the process, a loader say, are not for these threads.
      const worker = new Worker(new URL('staged/worker.js', built), { workerData, execArgv: [] })
      worker.unref()
      return worker
    })
    const crew = new Crew(workers, new Meeting(control, threads))
    await Promise.all(workers.map((worker) => crew.ready(worker)))
    return crew
  }

  private ready(worker: Worker): Promise<void> {
    return new Promise((resolve, reject) => {
      worker.once('message', () => {
        worker.on('message', (report: Report) => this.settle?.(report))
        resolve()
      })
      const end = (error: Error) => {
        this.ended ??= error
        reject(this.ended)
        this.settle?.({ kind: 'exception', step: -1, message: error.message })
      }
      worker.on('error', (error) => end(new RuntimeError(`internal: a thread failed: ${error.message}`)))
      worker.on('exit', () => end(new RuntimeError('internal: the threads have been closed')))
    })
  }

  /** A program that can be run from now on. */
  open(script: Script): number {
    const program = this.programs++
    this.send({ kind: 'open', program, script })
    return program
  }

  /** Runs after all runs that were asked for before. Undefined when it went well. */
  run(program: number): Promise<Failure | undefined> {
    const run = this.running.then(() => this.runNow(program))
    this.running = run.catch(() => {})
    return run
  }

  private async runNow(program: number): Promise<Failure | undefined> {
    if (this.ended) throw this.ended
    for (const worker of this.workers) worker.ref()
    this.meeting.reset()
    const report = await new Promise<Report>((resolve) => {
      this.settle = resolve
      this.send({ kind: 'run', program })
    })
    this.settle = undefined
    for (const worker of this.workers) worker.unref()
    if (this.ended) throw this.ended
    return 'step' in report ? report : undefined
  }

  close(program: number): void {
    this.send({ kind: 'close', program })
  }

  /** Waits for what runs, and ends the threads. */
  async end(): Promise<void> {
    await this.running
    this.ended ??= new RuntimeError('internal: the threads have been closed')
    await Promise.all(this.workers.map((worker) => worker.terminate()))
  }

  private send(order: Order): void {
    for (const worker of this.workers) worker.postMessage(order)
  }
}
