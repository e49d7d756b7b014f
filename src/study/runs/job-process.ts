/**
 * The process of one job: it is told the job, tells how it goes, and ends. When whoever started it is
 * gone, it saves and ends as well.
 */
import { UsageError } from '../../errors.ts'
import { type Job, runJob } from './job.ts'

export type ToJob = { readonly kind: 'job'; readonly job: Job } | { readonly kind: 'stop' }

const controller = new AbortController()

/** Settled when the message has gone, or nobody is there to take it. */
const send = (message: object): Promise<void> =>
  new Promise((resolve) => {
    if (process.connected && process.send) process.send(message, () => resolve())
    else resolve()
  })

// Ctrl-C, and the end of a terminal, reach every process of it; the study decides what they mean.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
process.on('disconnect', () => controller.abort())
process.on('message', (message: ToJob) => {
  if (message.kind === 'stop') return controller.abort()
  runJob(message.job, controller.signal, (update) => void send(update))
    .then(send, (error: unknown) => {
      const usage = error instanceof UsageError
      return send({ kind: 'error', usage, message: error instanceof Error ? error.message : String(error) })
    })
    .finally(() => process.disconnect?.())
})
