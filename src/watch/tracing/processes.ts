/**
 * Models in processes of their own: their memory goes when they go, and a crash of native code takes nothing along.
 *
 * Think of clerks who are each sent for one file. A clerk has the newest checkpoint of one run in hand and answers
 * one question after the other; with nothing to do for a while, or when others are wanted, it goes home.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sweepCache } from '../../data/cache.ts'
import { errorCode } from '../../system/disk.ts'
import { ProblemError } from '../http/problem.ts'
import { isWithin } from '../runs/confined.ts'
import { newestCheckpoint } from '../runs/newest-checkpoint.ts'
import type { AnswerTo, FromProcess, Question, ToProcess } from './messages.ts'

/** A process needs JavaScript, and `src/` and `dist/` are equally deep. */
const script = fileURLToPath(new URL('../../../dist/watch/tracing/trace-process.js', import.meta.url))

export interface ProcessLimits {
  readonly live: number
  /** Milliseconds without a question. */
  readonly idle: number
}

export class TraceProcesses {
  private readonly places: readonly string[]
  private readonly limits: ProcessLimits
  /** By run directory, the one asked last at the end. */
  private readonly live = new Map<string, TraceProcess>()
  /** All that have not ended, also those that only finish what they were asked. */
  private readonly all = new Set<TraceProcess>()
  private isClosed = false

  /** @param places Real paths of what models and their texts may be read from */
  constructor(places: readonly string[], limits: ProcessLimits = { live: 2, idle: 120_000 }) {
    this.places = places
    this.limits = limits
  }

  /**
   * Answers from the newest checkpoint of a run, after what was asked of it before.
   * @throws ProblemError when there is none, the model cannot answer, its process ended, or all are closed
   */
  async ask<Q extends Question>(directory: string, question: Q, signal: AbortSignal): Promise<AnswerTo<Q>> {
    const checkpoint = await newestCheckpoint(directory)
    if (checkpoint === null)
      throw new ProblemError(409, 'This run has no checkpoint yet: tokens can be followed once the first is written.')
    await this.refuseOutside(directory)
    if (this.isClosed) throw new ProblemError(500, 'The server is closing.')
    const process = this.processOf(directory, checkpoint)
    // The answer to a question is of its kind: both ends are in this folder.
    return (await process.ask(question, signal)) as AnswerTo<Q>
  }

  /** What a model is loaded from may be a link, but not to somewhere else. */
  private async refuseOutside(directory: string): Promise<void> {
    const names = ['tokenizer.json', 'checkpoints', ...(await everythingIn(directory, 'checkpoints'))]
    for (const name of names)
      if ((await isWithin([directory, ...this.places], join(directory, name))) === false)
        throw new ProblemError(409, `${name} of this run is a link that leads outside of what may be read.`)
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
    const fresh = known?.checkpoint === checkpoint
    if (!fresh) known?.retire()
    const process = known && fresh ? known : this.start(directory, checkpoint)
    this.live.set(directory, process)
    for (const [other, oldest] of this.live) {
      if (this.live.size <= this.limits.live) break
      this.live.delete(other)
      oldest.retire()
    }
    return process
  }

  private start(directory: string, checkpoint: string): TraceProcess {
    // One that is about to end is asked nothing more, or the question would end with it.
    const leave = () => {
      if (this.live.get(directory) === process) this.live.delete(directory)
    }
    const process = new TraceProcess([directory, ...this.places], checkpoint, this.limits.idle, leave, () => {
      this.all.delete(process)
      leave()
    })
    this.all.add(process)
    return process
  }
}

/** Paths of all that is in a folder of `root`, without what a training removes meanwhile. */
async function everythingIn(root: string, folder: string): Promise<string[]> {
  const entries = await readdir(join(root, folder), { withFileTypes: true }).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return []
    throw error
  })
  const within = entries.map(async (entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? [path, ...(await everythingIn(root, path))] : [path]
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
  /** Settled when all that was asked so far is answered. */
  private turn: Promise<unknown> = Promise.resolve()
  private complaint = ''

  /** @param places The run directory, and what else may be read. */
  constructor(places: readonly string[], checkpoint: string, idle: number, onIdle: () => void, onEnd: () => void) {
    this.checkpoint = checkpoint
    this.idle = idle
    this.onIdle = onIdle
    this.child = fork(script, [...places], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv: [] })
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.complaint = `${this.complaint}${text}`.slice(-2000)
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
        // It is killed, so what it kept for passing in the cache is left to us.
        resolve(sweepCache())
      }
      this.child.on('error', (error) => {
        // A process that never was does not close.
        if (this.child.pid === undefined) end(`The process of the model cannot be started: ${error.message}`)
      })
      this.child.on('close', (code, signal) => end(this.ending(code, signal)))
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
        // Whoever asks in the meantime has a turn of its own.
        if (this.turn === turn && !this.isEnded) this.timer = setTimeout(() => this.leave(), this.idle).unref()
      })
    this.turn = turn
    return answer
  }

  /** Ends it once it has answered what it was asked. */
  retire(): void {
    void this.turn.then(() => this.kill())
  }

  private leave(): void {
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
      // When it cannot be sent the process is ending, which is told then.
      this.child.send(question, () => {})
    }).finally(() => {
      this.waiting = undefined
    })
  }

  private ending(code: number | null, signal: NodeJS.Signals | null): string {
    const how = signal ? `was killed by ${signal}` : `ended with exit code ${code}`
    const memory = signal === 'SIGKILL' ? ' (out of memory?)' : ''
    const said = this.complaint.trim().split('\n').at(-1)
    return `The process of the model ${how}${memory}${said ? `: ${said}` : ''}. Ask again to start another.`
  }
}
