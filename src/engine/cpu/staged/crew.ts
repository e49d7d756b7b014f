/**
 * The crew, as the JavaScript thread sees it: the threads that run staged programs, one program at a time.
 *
 * For a run, the JavaScript thread sends one message to each thread and receives one report, so it stays free
 * meanwhile. Threads need JavaScript, so they run from the build, even in tests, which run TypeScript.
 *
 * A crew that has ended waits for the next runtime with the same options: koffi 3.3 never frees about 44 kB of each
 * thread that has loaded it, so that a process which opens and closes many runs would grow without bound.
 */
import { setFlagsFromString } from 'node:v8'
import { Worker } from 'node:worker_threads'
import { packageFile } from '../../../core/package-file.ts'
import type { GroupPlace, Precision } from '../../contract/runtime.ts'
import { RuntimeError } from '../../contract/runtime.ts'
import { kernelModule } from '../wasm/module.ts'
import { Barrier, CONTROL_BYTES } from './barrier.ts'
import type { CrewData, Failure, Order, Report, Script } from './script.ts'

const YOUNG_GENERATION_MB = 8

export interface CrewOptions {
  readonly threads: number
  readonly ortRun: number
  readonly dnnl: string | null
  readonly math: Precision
  readonly group: GroupPlace | null
  readonly orderLog: SharedArrayBuffer | null
}

/** Crews without work, by their options. */
const idle = new Map<string, Crew>()

/** The key of a crew's options: crews with the same key are interchangeable. Null for a crew of one world of ranks. */
const keyOf = ({ group, orderLog, ...options }: CrewOptions): string | null =>
  group === null && orderLog === null ? JSON.stringify(options) : null

export class Crew {
  private readonly key: string | null
  private readonly workers: readonly Worker[]
  private readonly barrier: Barrier
  private programs = 0
  /** The run in progress, or the last run. */
  private running: Promise<unknown> = Promise.resolve()
  private settle: ((report: Report) => void) | undefined
  private ended: Error | undefined

  private constructor(key: string | null, workers: readonly Worker[], barrier: Barrier) {
    this.key = key
    this.workers = workers
    this.barrier = barrier
  }

  /** @throws RuntimeError if the threads have not been built or cannot start. */
  static async start(crewOptions: CrewOptions): Promise<Crew> {
    const key = keyOf(crewOptions)
    const waiting = key !== null && idle.get(key)
    if (waiting) {
      idle.delete(key)
      if (!waiting.ended) return waiting
    }
    const { threads, ...options } = crewOptions
    // Threads that start after this have the function `gc`, by which they collect garbage when they rest.
    setFlagsFromString('--expose-gc')
    const wasm = await kernelModule()
    const control = new SharedArrayBuffer(CONTROL_BYTES)
    const workers = Array.from({ length: threads }, (_, thread) => {
      const workerData: CrewData = { thread, threads, control, wasm, ...options }
      // A thread does not inherit the options of the process, such as a loader. It allocates little, and a large young
      // generation would only hold the garbage of thousands of steps.
      const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB }
      return new Worker(packageFile('dist/engine/cpu/staged/worker.js'), { workerData, execArgv: [], resourceLimits })
    })
    const crew = new Crew(key, workers, new Barrier(control, threads))
    await Promise.all(workers.map((worker) => crew.ready(worker)))
    return crew
  }

  private ready(worker: Worker): Promise<void> {
    return new Promise((resolve, reject) => {
      worker.once('message', () => {
        worker.on('message', (report: Report) => this.settle?.(report))
        // An idle thread must not keep the process alive. `unref` comes last, because adding a listener undoes it.
        worker.unref()
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

  /** Sends a program to the threads; returns its id. */
  open(script: Script): number {
    const program = this.programs++
    this.send({ kind: 'open', program, script })
    return program
  }

  /**
   * Runs a program after all earlier runs.
   * @param early Whether to post early orders.
   * @param from The step at which the run begins.
   * @returns The failure; undefined on success.
   */
  run(program: number, early: boolean, from = 0): Promise<Failure | undefined> {
    const run = this.running.then(() => this.runNow(program, early, from))
    this.running = run.catch(() => {})
    return run
  }

  private async runNow(program: number, early: boolean, from: number): Promise<Failure | undefined> {
    if (this.ended) throw this.ended
    for (const worker of this.workers) worker.ref()
    this.barrier.reset()
    const report = await new Promise<Report>((resolve) => {
      this.settle = resolve
      this.send({ kind: 'run', program, early, from })
    })
    this.settle = undefined
    for (const worker of this.workers) worker.unref()
    if (this.ended) throw this.ended
    return 'step' in report ? report : undefined
  }

  /** @param frees Whether no other program uses its memory, which the threads should free soon. */
  close(program: number, frees: boolean): void {
    this.send({ kind: 'close', program, frees })
  }

  /**
   * Waits for runs in progress. Then the threads wait for another runtime, or end. Call it after all programs of the
   * crew have been closed.
   */
  async end(): Promise<void> {
    await this.running
    if (this.key !== null && !this.ended && !idle.has(this.key)) {
      idle.set(this.key, this)
      this.send({ kind: 'rest' })
      return
    }
    this.ended ??= new RuntimeError('internal: the threads have been closed')
    await Promise.all(this.workers.map((worker) => worker.terminate()))
  }

  private send(order: Order): void {
    for (const worker of this.workers) worker.postMessage(order)
  }
}
