/**
 * Runs models in child processes, so that their memory is freed when they end and a crash of native code does not stop
 * the server.
 *
 * Each process loads the newest checkpoint of one run and answers one question after the other. It ends when it has
 * been idle for a while, or when there are more processes than allowed.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { packageFile } from '../../../core/package-file.ts'
import { sweepCache } from '../../../node/data/cache.ts'
import { childEnvironment } from '../../../node/system/child-environment.ts'
import { errorCode } from '../../../node/system/disk.ts'
import { ProblemError } from '../../http/problem.ts'
import { isWithin } from '../runs/confined.ts'
import { newestCheckpointKey } from '../runs/run-directory-reader.ts'
import type { AnswerTo, FromProcess, Question, ToProcess } from './messages.ts'

const script = fileURLToPath(packageFile('dist/faces/watch/tracing/trace-process.js'))

export interface ProcessLimits {
  readonly live: number
  /** Milliseconds without a question after which a process ends. */
  readonly idle: number
}

export class TraceProcesses {
  private readonly readable: readonly string[]
  private readonly limits: ProcessLimits
  /** Processes that take questions, by run directory; the most recently used one is last. */
  private readonly live = new Map<string, TraceProcess>()
  /** All processes that have not ended, including those that only finish their last questions. */
  private readonly all = new Set<TraceProcess>()
  private isClosed = false

  /** @param readable Real paths from which models and their texts may be read */
  constructor(readable: readonly string[], limits: ProcessLimits = { live: 2, idle: 120_000 }) {
    this.readable = readable
    this.limits = limits
  }

  /**
   * Answers from the newest checkpoint of a run, after earlier questions.
   * @throws ProblemError if there is no checkpoint, the model cannot answer, its process ended, or the server closes
   */
  async ask<Q extends Question>(directory: string, question: Q, signal: AbortSignal): Promise<AnswerTo<Q>> {
    const checkpoint = await newestCheckpointKey(directory)
    if (checkpoint === null)
      throw new ProblemError(409, 'This run has no checkpoint yet: tokens can be traced once the first is written.')
    await this.refuseOutside(directory)
    if (this.isClosed) throw new ProblemError(500, 'The server is closing.')
    const process = this.processOf(directory, checkpoint)
    // The process (trace-process.ts) answers each kind of question with its type.
    return (await process.ask(question, signal)) as AnswerTo<Q>
  }

  /** Files of a model may be links, but not to places outside the readable paths. */
  private async refuseOutside(directory: string): Promise<void> {
    const names = [
      'tokenizer.json',
      'generation.json',
      'checkpoints',
      ...(await listRecursively(directory, 'checkpoints')),
    ]
    for (const name of names)
      if ((await isWithin([directory, ...this.readable], join(directory, name))) === false)
        throw new ProblemError(409, `${name} of this run is a link that leads outside the folders that may be read.`)
  }

  /** Ends all processes, whatever they are doing. */
  async close(): Promise<void> {
    this.isClosed = true
    this.live.clear()
    await Promise.all([...this.all].map((process) => process.kill()))
  }

  private processOf(directory: string, checkpoint: string): TraceProcess {
    const known = this.live.get(directory)
    this.live.delete(directory)
    const isCurrent = known?.checkpoint === checkpoint
    if (!isCurrent) known?.retire()
    const process = known && isCurrent ? known : this.start(directory, checkpoint)
    this.live.set(directory, process)
    for (const [other, oldest] of this.live) {
      if (this.live.size <= this.limits.live) break
      this.live.delete(other)
      oldest.retire()
    }
    return process
  }

  private start(directory: string, checkpoint: string): TraceProcess {
    // A process that is about to end must get no more questions: they would be lost.
    const forget = () => {
      if (this.live.get(directory) === process) this.live.delete(directory)
    }
    const process = new TraceProcess([directory, ...this.readable], checkpoint, this.limits.idle, forget, () => {
      this.all.delete(process)
      forget()
    })
    this.all.add(process)
    return process
  }
}

/** Paths below a folder of `root`; ignores folders that a training removes in the meantime. */
async function listRecursively(root: string, folder: string): Promise<string[]> {
  const entries = await readdir(join(root, folder), { withFileTypes: true }).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return []
    throw error
  })
  const within = entries.map(async (entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? [path, ...(await listRecursively(root, path))] : [path]
  })
  return (await Promise.all(within)).flat()
}

interface Waiting {
  readonly resolve: (answer: unknown) => void
  readonly reject: (problem: ProblemError) => void
}

class TraceProcess {
  readonly checkpoint: string
  private readonly child: ChildProcess
  private readonly idle: number
  private readonly onIdle: () => void
  private readonly ended: Promise<void>
  private isEnded = false
  private waiting: Waiting | undefined
  private timer: NodeJS.Timeout | undefined
  /** Settles once all questions so far are answered. */
  private turn: Promise<unknown> = Promise.resolve()
  private errorOutput = ''

  /** @param readable The run directory, and the other paths that may be read. */
  constructor(readable: readonly string[], checkpoint: string, idle: number, onIdle: () => void, onEnd: () => void) {
    this.checkpoint = checkpoint
    this.idle = idle
    this.onIdle = onIdle
    this.child = fork(script, [...readable], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: childEnvironment(),
      execArgv: [],
    })
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.errorOutput = `${this.errorOutput}${text}`.slice(-2000)
    })
    this.child.on('message', (message: FromProcess) => {
      if (message.kind === 'answer') this.waiting?.resolve(message.answer)
      else this.waiting?.reject(new ProblemError(message.status, message.message))
    })
    this.ended = new Promise((resolve) => {
      const end = (why: string) => {
        this.isEnded = true
        clearTimeout(this.timer)
        this.waiting?.reject(new ProblemError(500, why))
        onEnd()
        // A killed process leaves scratch files in the cache, which are removed here.
        resolve(sweepCache())
      }
      this.child.on('error', (error) => {
        // A process that could not be started emits no `close`.
        if (this.child.pid === undefined) end(`The process of the model cannot be started: ${error.message}`)
      })
      this.child.on('close', (code, signal) => end(this.describeEnd(code, signal)))
    })
  }

  ask(question: Question, signal: AbortSignal): Promise<unknown> {
    clearTimeout(this.timer)
    const answer = this.turn.then(() => {
      signal.throwIfAborted()
      return this.exchange(question)
    })
    const turn = answer
      .catch(() => undefined)
      .then(() => {
        // A question asked in the meantime starts its own timer.
        if (this.turn === turn && !this.isEnded) this.timer = setTimeout(() => this.endIdle(), this.idle).unref()
      })
    this.turn = turn
    return answer
  }

  /** Ends the process once it has answered its questions. */
  retire(): void {
    void this.turn.then(() => this.kill())
  }

  private endIdle(): void {
    this.onIdle()
    void this.kill()
  }

  kill(): Promise<void> {
    this.child.kill('SIGKILL')
    return this.ended
  }

  private exchange(question: ToProcess): Promise<unknown> {
    if (this.isEnded) throw new ProblemError(500, 'The process of the model ended. Ask again to start another.')
    return new Promise<unknown>((resolve, reject) => {
      this.waiting = { resolve, reject }
      // If sending fails, the process is ending, and its `close` event rejects the answer.
      this.child.send(question, () => {})
    }).finally(() => {
      this.waiting = undefined
    })
  }

  private describeEnd(code: number | null, signal: NodeJS.Signals | null): string {
    const how = signal ? `was killed by ${signal}` : `ended with exit code ${code}`
    const memory = signal === 'SIGKILL' ? ' (out of memory?)' : ''
    const lastLine = this.errorOutput.trim().split('\n').at(-1)
    return `The process of the model ${how}${memory}${lastLine ? `: ${lastLine}` : ''}. Ask again to start another.`
  }
}
