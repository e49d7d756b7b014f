/**
 * The process of one job: it is told the job, tells how it goes, and ends. When whoever started it is
 * gone, it saves and ends as well.
 */
import { UsageError } from '../errors.ts'
import { type Job, runJob } from './job.ts'

export type ToJob = { readonly kind: 'job'; readonly job: Job } | { readonly kind: 'stop' }

const controller = new AbortController()
const tell = (message: object) => process.connected && process.send?.(message)

// Ctrl-C reaches every process of a terminal; the study decides what it means.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {})
process.on('disconnect', () => controller.abort())
process.on('message', (message: ToJob) => {
  if (message.kind === 'stop') return controller.abort()
  runJob(message.job, controller.signal, tell)
    .then(tell, (error: unknown) => {
      const usage = error instanceof UsageError
      tell({ kind: 'error', usage, message: error instanceof Error ? error.message : String(error) })
    })
    .finally(() => process.disconnect?.())
})
