/**
 * One thread of the pool: runs kernels on the arenas sent to it. This file runs only as a worker thread, from
 * the build (see pool.ts).
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { SharedMemory } from '../arena.ts'

/** A new arena (arenas are numbered in order of arrival), or calls of one kernel. */
export type Message =
  | { readonly memory: SharedMemory }
  | { readonly kernel: string; readonly calls: readonly { readonly arena: number; readonly args: readonly number[] }[] }

type Exports = Readonly<Record<string, (...args: number[]) => number | undefined>>
/** The part of `WebAssembly` that we use (TypeScript declares it for browsers only). */
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
