/**
 * One thread of the pool: runs kernels on the arenas that it was given. It only ever runs as its own
 * thread, from the build (see pool.ts).
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { SharedMemory } from '../arena.ts'

/** An arena to remember (arenas are numbered as they come), or calls of one kernel. */
export type Message =
  | { readonly memory: SharedMemory }
  | { readonly kernel: string; readonly calls: readonly { readonly arena: number; readonly args: readonly number[] }[] }

type Exports = Readonly<Record<string, (...args: number[]) => number | undefined>>
/** The part of `WebAssembly` that is used (TypeScript declares it for browsers only). */
declare const WebAssembly: {
  Instance: new (module: unknown, imports: { env: { memory: SharedMemory } }) => { readonly exports: Exports }
}

const arenas: Exports[] = []

parentPort?.on('message', (message: Message) => {
  if ('memory' in message) {
    arenas.push(new WebAssembly.Instance(workerData, { env: { memory: message.memory } }).exports)
    return
  }
  parentPort?.postMessage(message.calls.map(({ arena, args }) => arenas[arena]?.[message.kernel]?.(...args)))
})
