/**
 * Threads that run arena kernels. The JavaScript thread only sends messages, so it stays free meanwhile. A
 * message takes tens of microseconds, a kernel on a model milliseconds. Calls that take less time than the message
 * run on the JavaScript thread itself.
 *
 * Threads need JavaScript, so they and the kernels run from the build, even in tests, which run TypeScript.
 */
import { Worker } from 'node:worker_threads'
import { packageFile } from '../../../core/package-file.ts'
import { type Arena, hostOf, type SharedMemory } from '../../contract/arena.ts'
import { RuntimeError } from '../../contract/runtime.ts'
import { type ArenaFunctions, arenaFunctions, kernelModule } from './module.ts'
import type { Message } from './worker.ts'

/** A call of a kernel; addresses are among the arguments. */
export interface Call {
  readonly arena: Arena
  readonly args: readonly number[]
}

/** Largest number of elements of calls that run on the JavaScript thread. */
const FEW = 128 * 1024

const failed = (error: Error) => new RuntimeError(`internal: a kernel failed: ${error.message}`)

export class Pool {
  private readonly threads: readonly Thread[]
  private readonly module: unknown
  private readonly arenas = new Map<SharedMemory, number>()
  /** The kernels for calls on the JavaScript thread, by memory. */
  private readonly functions = new Map<SharedMemory, ArenaFunctions>()

  private constructor(threads: readonly Thread[], module: unknown) {
    this.threads = threads
    this.module = module
  }

  /** @throws RuntimeError if the kernels have not been built. */
  static async start(threads: number): Promise<Pool> {
    const module = await kernelModule()
    // Threads may still be starting when they get work. A thread that cannot start fails its first call.
    return new Pool(
      Array.from({ length: threads }, () => new Thread(module)),
      module,
    )
  }

  /**
   * Runs a list of calls on each thread, and returns the results of each list.
   * @param floats Number of elements that the calls read or change.
   */
  async run(
    kernel: keyof ArenaFunctions,
    lists: readonly (readonly Call[])[],
    floats = Number.POSITIVE_INFINITY,
  ): Promise<number[][]> {
    if (floats <= FEW && this.threads.every(({ isIdle }) => isIdle)) return this.runHere(kernel, lists)
    const numbered = lists.map((calls) => calls.map(({ arena, args }) => ({ arena: this.indexOf(arena), args })))
    return Promise.all(
      numbered.map((calls, i) => (calls.length > 0 ? (this.threads[i]?.run(kernel, calls) ?? []) : [])),
    )
  }

  private runHere(kernel: keyof ArenaFunctions, lists: readonly (readonly Call[])[]): number[][] {
    try {
      return lists.map((calls) => calls.map(({ arena, args }) => this.functionsOf(arena)[kernel](...args) as number))
    } catch (error) {
      const failure = failed(error as Error)
      for (const thread of this.threads) thread.end(failure)
      throw failure
    }
  }

  /** Waits for running kernels and ends the threads. */
  async close(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.close()))
    this.arenas.clear()
    this.functions.clear()
  }

  private functionsOf(arena: Arena): ArenaFunctions {
    const { memory } = hostOf(arena)
    const functions = this.functions.get(memory) ?? arenaFunctions(this.module, memory)
    this.functions.set(memory, functions)
    return functions
  }

  /** The index of an arena in the threads, which keep it until they end. */
  private indexOf(arena: Arena): number {
    const { memory } = hostOf(arena)
    let index = this.arenas.get(memory)
    if (index === undefined) {
      index = this.arenas.size
      this.arenas.set(memory, index)
      for (const thread of this.threads) thread.send({ memory })
    }
    return index
  }
}

interface Waiting {
  readonly resolve: (results: number[]) => void
  readonly reject: (error: Error) => void
}

class Thread {
  private readonly worker: Worker
  /** Results arrive in the order of the requests. */
  private readonly waiting: Waiting[] = []
  private ended: Error | undefined

  constructor(module: unknown) {
    // The thread does not inherit the options of the process, such as a loader.
    this.worker = new Worker(packageFile('dist/engine/cpu/wasm/worker.js'), { workerData: module, execArgv: [] })
    this.worker.on('message', (results: number[]) => this.waiting.shift()?.resolve(results))
    this.worker.on('message', () => this.waiting.length === 0 && this.worker.unref())
    this.worker.on('error', (error) => this.end(failed(error)))
    this.worker.on('exit', () => this.end(new RuntimeError('internal: the kernels have been closed')))
    // An idle thread must not keep the process alive. `unref` comes last, because adding a listener undoes it.
    this.worker.unref()
  }

  /** Whether the thread can compute and has nothing to do. */
  get isIdle(): boolean {
    return this.waiting.length === 0 && !this.ended
  }

  run(kernel: keyof ArenaFunctions, calls: readonly { arena: number; args: readonly number[] }[]): Promise<number[]> {
    return new Promise((resolve, reject) => {
      if (this.ended) return reject(this.ended)
      this.waiting.push({ resolve, reject })
      this.worker.ref()
      this.send({ kernel, calls })
    })
  }

  /** Resolves when the thread has done all its work. */
  async idle(): Promise<void> {
    await this.run('adamw', [])
  }

  send(message: Message): void {
    this.worker.postMessage(message)
  }

  async close(): Promise<void> {
    await this.idle().catch(() => {})
    await this.worker.terminate()
  }

  /** Fails all waiting calls, and refuses calls from now on. */
  end(error: Error): void {
    this.ended ??= error
    for (const { reject } of this.waiting.splice(0)) reject(this.ended)
  }
}
