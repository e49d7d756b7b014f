/**
 * Ctrl-C and SIGTERM: the first one reaches a handler, which lets the program finish in order; a second one ends the
 * process at once, wherever the program is. Handlers run in the event loop. If the event loop is busy at the first
 * signal, the system ends the process at the second signal (`dispositions.ts`). If it becomes busy later, a thread ends
 * the process (`watchdog.ts`).
 *
 * Windows has neither mechanism: there a second Ctrl-C waits for the event loop too.
 *
 * SIGHUP, the end of a terminal, counts as a first Ctrl-C, and does nothing under `nohup`.
 */
import { once } from 'node:events'
import { basename } from 'node:path'
import { Worker } from 'node:worker_threads'
import { packageFile } from '../../core/package-file.ts'

/** Signals within this time count as one: GNU timeout signals a process and then its group. */
const ONE_MS = 50

/** `nohup` turns SIGHUP off, but Node turns it on again at its start. Shells set `_` to the program that they start. */
const isUnderNohup = basename(process.env._ ?? '') === 'nohup'

type Dispositions = typeof import('./dispositions.ts')

/** Null until the interface to C is loaded, and where the C library cannot be called. */
let dispositions: Dispositions | null = null
/** Memory that is shared with the thread that watches: 1 while it is to watch, 0 to end it. */
const control = new Int32Array(new SharedArrayBuffer(4))
let listeners = 0
/** Threads that watch, or are still loading. */
const watchdogs = new Set<Worker>()

/**
 * Calls `handler` at each Ctrl-C and SIGTERM.
 * @param names Other signals that call `handler` too. A second one of these does not end the process.
 * @returns Function that unsubscribes.
 */
export function onStopSignals(handler: () => void, names: readonly NodeJS.Signals[] = []): () => void {
  let last = Number.NEGATIVE_INFINITY
  const listener = (): void => {
    dispositions?.armAgain()
    watch()
    if (performance.now() - last > ONE_MS) handler()
    // The time of the handler does not count: the second of two signals in a row is handled after it.
    last = performance.now()
  }
  // The shell and the system may both send a SIGHUP, so a second one does not mean that the user is impatient.
  const onHangUp = (): void => {
    if (!isUnderNohup && last === Number.NEGATIVE_INFINITY) listener()
  }
  const all = ['SIGINT', 'SIGTERM', ...names]
  for (const name of all) process.on(name, listener)
  listeners++
  process.on('SIGHUP', onHangUp)
  void arm()
  return () => {
    // This comes first: without handlers, a signal looks to the thread as if it had arrived.
    if (--listeners === 0) callOff()
    for (const name of all) process.off(name, listener)
    process.off('SIGHUP', onHangUp)
  }
}

/**
 * Ends the threads that watch for a second signal. Await it before the process ends: a thread that is ended while it
 * loads the interface to C aborts the process.
 */
export async function endWatch(): Promise<void> {
  callOff()
  for (const worker of watchdogs) worker.ref()
  await Promise.all(Array.from(watchdogs, (worker) => once(worker, 'exit')))
}

/** Ends the process at once, after calling the listeners of its exit. */
export function exitAtOnce(code: number): void {
  if (!dispositions) process.exit(code)
  process.emit('exit', code)
  dispositions.endProcess(code)
  process.exit(code)
}

/** Arms the signals in the background: loading the interface to C takes longer than many a command needs to start. */
async function arm(): Promise<void> {
  dispositions ??= await import('./dispositions.ts').catch(() => null)
  if (listeners > 0) dispositions?.armSignals()
}

function callOff(): void {
  Atomics.store(control, 0, 0)
  Atomics.notify(control, 0)
}

function watch(): void {
  if (!dispositions || Atomics.compareExchange(control, 0, 0, 1) === 1) return
  const worker = new Worker(packageFile('dist/node/interrupts/watchdog.js'), {
    workerData: control,
    execArgv: [],
    stdin: false,
  })
  watchdogs.add(worker)
  worker.on('error', () => {})
  worker.on('exit', () => watchdogs.delete(worker))
  worker.unref()
}
