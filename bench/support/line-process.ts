/**
 * A child process that reads commands as lines of JSON and answers each with one line. A benchmark keeps several
 * models in memory this way, and lets one compute at a time.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { RunError, UsageError } from '../../src/core/errors.ts'

export class LineProcess {
  private readonly name: string
  private readonly process: ChildProcessWithoutNullStreams
  private readonly lines: AsyncIterator<string>
  private readonly ended: Promise<number | null>
  private stderrText = ''
  private waiting = false

  /** @param name for error messages, e.g. `the PyTorch peer` */
  constructor(name: string, program: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    const child = spawn(program, args, { env })
    this.name = name
    this.process = child
    this.lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    this.ended = new Promise((resolve) => child.once('close', resolve))
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderrText = (this.stderrText + text).slice(-4000)
    })
    child.once('error', (error) => {
      this.stderrText += error.message
    })
    child.stdin.on('error', () => {}) // if the process has died, the next answer fails
  }

  /** Sends a command and waits for its answer; see {@link answer}. */
  async ask(command: object): Promise<unknown> {
    if (this.waiting) throw new Error(`internal: a command to ${this.name} before it answered the previous one`)
    this.process.stdin.write(`${JSON.stringify(command)}\n`)
    return this.answer()
  }

  /**
   * Waits for a line.
   * @throws UsageError if the line is `{"error": ...}` or the process exited with code 2, RunError for other exits
   */
  async answer(): Promise<unknown> {
    this.waiting = true
    const line = await this.lines.next()
    this.waiting = false
    if (line.done) {
      const code = await this.ended
      const last = this.stderrText.trim().split('\n').at(-1)
      throw new (code === 2 ? UsageError : RunError)(`${this.name} ended (exit code ${code}): ${last}`)
    }
    const message = JSON.parse(line.value) as { error?: string }
    if (message.error !== undefined) throw new UsageError(`${this.name} refused: ${message.error}`)
    return message
  }

  /** Closes its input and waits until it exits; kills it after 10 s. */
  async stop(): Promise<void> {
    this.process.stdin.end()
    const killTimer = setTimeout(() => this.process.kill(), 10_000)
    await this.ended
    clearTimeout(killTimer)
  }
}

/** Runs `work` with a started process, and stops the process in any case. */
export async function using<Started extends { stop(): Promise<void> }, Result>(
  starting: Promise<Started>,
  work: (started: Started) => Promise<Result>,
): Promise<Result> {
  const started = await starting
  try {
    return await work(started)
  } finally {
    await started.stop()
  }
}
