/**
 * The outside world of the command line: streams, environment, signals, the operations. A command
 * touches nothing else, so a test runs whole commands in its own process.
 */
import pc from 'picocolors'
import type { Operations } from './operations.ts'

export type Colors = ReturnType<typeof pc.createColors>

export type Output = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number }

export interface Io {
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Readonly<Record<string, string | undefined>>
  readonly operations: Operations
  /** How this program is called from here: `choir`, or `node bin/choir.js` in a clone. */
  readonly self: string
  /** Milliseconds, monotonic. */
  now(): number
  /** Calls `handler` at each Ctrl-C (or SIGTERM); the result stops that. */
  onInterrupt(handler: () => void): () => void
  /** Calls `handler` when whoever reads standard output has gone. */
  onBrokenPipe(handler: () => void): () => void
  /** Ends the process at once. */
  exit(code: number): void
  /** Runs this program in a process of its own, with more in its environment; its standard output. */
  runSelf(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<string>
  /** Starts this program beside this process, and waits for its first line. It ends with this process. */
  startSelf(args: readonly string[]): Promise<Beside>
  /** Shows an address to whoever sits here; without a browser nothing happens. */
  openBrowser(address: string): void
}

/** A process beside this one, which Ctrl-C does not reach. */
export interface Beside {
  /** The first line that it printed. */
  readonly line: string
  /** Ends it as Ctrl-C does, and waits. */
  stop(): Promise<void>
}

/** Thrown by a command that was interrupted and has said all there is to say: exit code 130. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
}

/** Colours for a stream: NO_COLOR and FORCE_COLOR are heard, then whether it is a terminal. */
export function colorsFor(output: Output, env: Io['env']): Colors {
  const forced = Boolean(env.FORCE_COLOR) && env.FORCE_COLOR !== '0'
  return pc.createColors(!env.NO_COLOR && (forced || isTerminal(output, env)))
}

/** A terminal that can move its cursor. */
export function isTerminal(output: Output, env: Io['env']): boolean {
  return output.isTTY === true && env.TERM !== 'dumb'
}

/**
 * Runs `work` so that Ctrl-C aborts its signal and a second one ends the process at once.
 *
 * @param tell what to do at the first Ctrl-C, e.g. say what is being finished
 * @param leave what to do before the process ends at the second, e.g. show the cursor again
 */
export async function interruptible<T>(
  io: Io,
  work: (signal: AbortSignal) => Promise<T>,
  { tell = () => {}, leave = () => {} }: { tell?: () => void; leave?: () => void } = {},
): Promise<T> {
  const controller = new AbortController()
  const stopInterrupt = io.onInterrupt(() => {
    if (controller.signal.aborted) {
      leave()
      io.exit(130)
      return
    }
    controller.abort()
    tell()
  })
  const stopPipe = io.onBrokenPipe(() => controller.abort())
  try {
    return await work(controller.signal)
  } finally {
    stopInterrupt()
    stopPipe()
  }
}

export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** Writes one JSON object on a line. Numbers that JSON lacks (NaN of a skipped step) become null. */
export function writeJson(io: Io, value: object): void {
  io.stdout.write(`${JSON.stringify(value)}\n`)
}
