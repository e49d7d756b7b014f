/**
 * A thread of the pool, which runs kernels on the arenas that are sent to it. This file runs only as a worker thread,
 * from the build (see pool.ts).
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { SharedMemory } from '../../contract/arena.ts'
import { type ArenaFunctions, arenaFunctions } from './module.ts'

/** A new arena (arenas are numbered in order of arrival), or calls of one kernel. */
export type Message =
  | { readonly memory: SharedMemory }
  | {
      readonly kernel: keyof ArenaFunctions
      readonly calls: readonly { readonly arena: number; readonly args: readonly number[] }[]
    }

const arenas: ArenaFunctions[] = []

parentPort?.on('message', (message: Message) => {
  if ('memory' in message) {
    arenas.push(arenaFunctions(workerData, message.memory))
    return
  }
  parentPort?.postMessage(message.calls.map(({ arena, args }) => arenas[arena]?.[message.kernel]?.(...args)))
})
