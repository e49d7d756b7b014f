/** Runs each job in a separate process, so a run that crashes or is killed for lack of memory does not affect others. */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { RunError, UsageError } from '../../../core/errors.ts'
import { packageFile } from '../../../core/package-file.ts'
import { childEnvironment } from '../../../node/system/child-environment.ts'
import type { Job, JobResult, JobUpdate } from './job.ts'
import type { ToJob } from './job-process.ts'

const script = fileURLToPath(packageFile('dist/tools/study/runs/job-process.js'))

type FromJob = JobUpdate | JobResult | { readonly kind: 'error'; readonly usage: boolean; readonly message: string }

/** Runs a job as {@link runJob} does. @throws what the job threw, or RunError when its process died */
export function runInProcess(job: Job, signal: AbortSignal, onUpdate: (update: JobUpdate) => void): Promise<JobResult> {
  return new Promise((resolve, reject) => {
    const child = fork(script, [], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: childEnvironment(),
      execArgv: [],
    })
    let stderr = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = `${stderr}${text}`.slice(-2000)
    })
    const stop = () => child.connected && child.send({ kind: 'stop' } satisfies ToJob)
    signal.addEventListener('abort', stop)
    let settle: (() => void) | undefined
    child.on('message', (message: FromJob) => {
      if (message.kind === 'progress' || message.kind === 'note') onUpdate(message)
      else if (message.kind === 'error')
        settle = () => reject(new (message.usage ? UsageError : RunError)(message.message))
      else settle = () => resolve(message)
    })
    child.on('error', (error) => {
      const failure = new RunError(`cannot start a process for a run: ${error.message}`)
      // A process that never started emits no close event.
      if (child.pid === undefined) reject(failure)
      else settle ??= () => reject(failure)
    })
    child.on('close', (code, killedBy) => {
      signal.removeEventListener('abort', stop)
      if (settle) return settle()
      const how = killedBy ? `was killed by ${killedBy}` : `ended with exit code ${code}`
      const memory = killedBy === 'SIGKILL' ? ' (out of memory?)' : ''
      const lastLine = stderr.trim().split('\n').at(-1)
      reject(new RunError(`the process of the run ${how}${memory}${lastLine ? `: ${lastLine}` : ''}`))
    })
    child.send({ kind: 'job', job } satisfies ToJob)
    if (signal.aborted) stop()
  })
}

/** Runs a job; tests replace {@link runInProcess}. */
export type RunJob = typeof runInProcess
