/**
 * A thread that ends the process at a second signal if the main thread is too busy to do it. It runs only after the
 * first signal. This file runs only as a worker thread, from the build (see interrupts.ts).
 */
import { workerData } from 'node:worker_threads'
import { endProcess, hasArrived } from './dispositions.ts'

/** The element is 1 while this thread is to watch, and 0 when it is to end. */
const control = workerData as Int32Array<SharedArrayBuffer>

const POLL_MS = 20
/** Time that the main thread gets to end the process itself, which frees locks and shows the cursor. */
const GRACE_MS = 200

while (Atomics.wait(control, 0, 1, POLL_MS) === 'timed-out')
  if (hasArrived() && Atomics.wait(control, 0, 1, GRACE_MS) === 'timed-out') endProcess(130)
