/**
 * A child process that waits for a JSON object on a line, does what it says and answers with one, strictly
 * in turn. So a benchmark keeps several models alive and lets one compute at a time.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { RunError, UsageError } from '../../src/errors.ts'

export class LineProcess {
  private readonly name: string
  private readonly process: ChildProcessWithoutNullStreams
  private readonly lines: AsyncIterator<string>
  private readonly ended: Promise<number | null>
  private complaints = ''
  private waiting = false

  /** @param name what error messages call it, e.g. `the PyTorch peer` */
  constructor(name: string, program: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    const child = spawn(program, args, { env })
    this.name = name
    this.process = child
    this.lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    this.ended = new Promise((resolve) => child.once('close', resolve))
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.complaints = (this.complaints + text).slice(-4000)
    })
    child.once('error', (error) => {
      this.complaints += error.message
    })
    child.stdin.on('error', () => {}) // a dead process shows in the next answer
  }

  /** Sends a command and waits for its answer; see {@link answer}. */
  async ask(command: object): Promise<unknown> {
    if (this.waiting) throw new Error(`internal: a command to ${this.name} before its answer to the last one`)
    this.process.stdin.write(`${JSON.stringify(command)}\n`)
    return this.answer()
  }

  /**
   * Waits for a line.
   * @throws UsageError when it is a refusal (`{"error": ...}`) or the process left with exit code 2, RunError
   *   when it failed
   */
  async answer(): Promise<unknown> {
    this.waiting = true
    const line = await this.lines.next()
    this.waiting = false
    if (line.done) {
      const code = await this.ended
      const last = this.complaints.trim().split('\n').at(-1)
      throw new (code === 2 ? UsageError : RunError)(`${this.name} ended (exit code ${code}): ${last}`)
    }
    const message = JSON.parse(line.value) as { error?: string }
    if (message.error !== undefined) throw new UsageError(`${this.name} refused: ${message.error}`)
    return message
  }

  /** Ends its input, and waits for the end that follows. */
  async stop(): Promise<void> {
    this.process.stdin.end()
    const patience = setTimeout(() => this.process.kill(), 10_000)
    await this.ended
    clearTimeout(patience)
  }
}

/** Runs `work` with what was started, and stops that whatever happens. */
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
