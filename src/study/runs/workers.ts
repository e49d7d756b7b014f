/** Jobs in processes of their own: a run that crashes or is killed for lack of memory takes nothing else with it. */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { RunError, UsageError } from '../../errors.ts'
import type { Job, JobNews, JobResult } from './job.ts'
import type { ToJob } from './job-process.ts'

/** A process needs JavaScript, and `src/` and `dist/` are equally deep. */
const script = fileURLToPath(new URL('../../../dist/study/runs/job-process.js', import.meta.url))

type FromJob = JobNews | JobResult | { readonly kind: 'error'; readonly usage: boolean; readonly message: string }

/** Runs a job as {@link runJob} does. @throws what the job threw, or RunError when its process died */
export function runInProcess(job: Job, signal: AbortSignal, tell: (news: JobNews) => void): Promise<JobResult> {
  return new Promise((resolve, reject) => {
    const child = fork(script, [], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv: [] })
    let complaint = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint = `${complaint}${text}`.slice(-2000)
    })
    const stop = () => child.connected && child.send({ kind: 'stop' } satisfies ToJob)
    signal.addEventListener('abort', stop)
    let ended: (() => void) | undefined
    child.on('message', (message: FromJob) => {
      if (message.kind === 'progress' || message.kind === 'note') tell(message)
      else if (message.kind === 'error')
        ended = () => reject(new (message.usage ? UsageError : RunError)(message.message))
      else ended = () => resolve(message)
    })
    child.on('error', (error) => {
      const failure = new RunError(`cannot start a process for a run: ${error.message}`)
      // A process that never was does not close.
      if (child.pid === undefined) reject(failure)
      else ended ??= () => reject(failure)
    })
    child.on('close', (code, killedBy) => {
      signal.removeEventListener('abort', stop)
      if (ended) return ended()
      const how = killedBy ? `was killed by ${killedBy}` : `ended with exit code ${code}`
      const memory = killedBy === 'SIGKILL' ? ' (out of memory?)' : ''
      const said = complaint.trim().split('\n').at(-1)
      reject(new RunError(`the process of the run ${how}${memory}${said ? `: ${said}` : ''}`))
    })
    child.send({ kind: 'job', job } satisfies ToJob)
    if (signal.aborted) stop()
  })
}

/** How a job is run; tests put another in place of {@link runInProcess}. */
export type RunJob = typeof runInProcess
