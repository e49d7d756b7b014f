/**
 * The process of one job: it receives the job, reports progress, sends the result and exits. If the parent
 * process is gone, it saves a checkpoint and exits.
 */
import { UsageError } from '../../../core/errors.ts'
import { endWatch, exitAtOnce, onStopSignals } from '../../../node/interrupts/interrupts.ts'
import { type Job, runJob } from './job.ts'

export type ToJob = { readonly kind: 'job'; readonly job: Job } | { readonly kind: 'stop' }

const controller = new AbortController()

/** Resolves when the message is sent, or when the parent is gone. */
const send = (message: object): Promise<void> =>
  new Promise((resolve) => {
    if (process.connected && process.send) process.send(message, () => resolve())
    else resolve()
  })

// Ctrl-C, and closing the terminal, signal all processes of the terminal. The parent decides what to do; a second
// Ctrl-C ends this process at once.
let isSignalled = false
onStopSignals(() => {
  if (isSignalled) exitAtOnce(130)
  isSignalled = true
})
process.on('disconnect', () => controller.abort())
process.on('message', (message: ToJob) => {
  if (message.kind === 'stop') return controller.abort()
  runJob(message.job, controller.signal, (update) => void send(update))
    .then(send, (error: unknown) => {
      const usage = error instanceof UsageError
      return send({ kind: 'error', usage, message: error instanceof Error ? error.message : String(error) })
    })
    .finally(endWatch)
    .finally(() => process.disconnect?.())
})
