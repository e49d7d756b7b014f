/**
 * Everything a command uses from outside: streams, environment, signals, processes, operations. Commands
 * touch nothing else, so tests run them in their own process with a fake `Io`.
 */
import pc from 'picocolors'
import type { JobEnd } from '../../tools/launch/restarts.ts'
import type { Operations } from './operations.ts'

export type Colors = ReturnType<typeof pc.createColors>

/** Terminals of unknown width, such as those that MPI launchers create, have 0 columns. */
export type Output = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number }

export type Input = AsyncIterable<string | Uint8Array> & { readonly isTTY?: boolean }

export interface Io {
  readonly stdin: Input
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Readonly<Record<string, string | undefined>>
  readonly operations: Operations
  /** The command that starts this program from the current folder: `choir`, or `node bin/choir.js` in a clone. */
  readonly self: string
  /** Node and this program by absolute paths, for processes in other folders and on other machines. */
  readonly program: readonly string[]
  /** The current folder. */
  readonly folder: string
  readonly isRoot: boolean
  /** Milliseconds, monotonic. */
  now(): number
  /**
   * Calls `handler` at each Ctrl-C, SIGTERM or SIGUSR1, when the terminal hangs up, and in a background process also
   * when its parent exits or stops it. Returns a function that unsubscribes.
   */
  onInterrupt(handler: () => void): () => void
  /** Calls `handler` when a reader closes standard output or standard error. Returns a function that unsubscribes. */
  onBrokenPipe(handler: () => void): () => void
  /** Ends the process at once. */
  exit(code: number): void
  /** Runs this program in a child process with extra environment variables. Returns its standard output. */
  runSelf(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<string>
  /** Starts this program in the background and waits for its first line. It exits when this process exits. */
  startSelf(args: readonly string[]): Promise<BackgroundProcess>
  /**
   * Runs another program without input, for at most half a minute. Its exit code is null if it cannot be run or was
   * ended by a signal.
   */
  runProgram(words: readonly string[]): Promise<{ readonly code: number | null; readonly text: string }>
  /** Starts another program. Its output appears on the streams of this one. */
  startJob(words: readonly string[], env: Readonly<Record<string, string>>): Job
  /** Waits for a time, or until `signal` is aborted. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>
  /** Opens an address in the user's browser. Does nothing if there is no browser. */
  openBrowser(address: string): void
}

/** A child process that Ctrl-C in the terminal does not reach. */
export interface BackgroundProcess {
  /** The first line of its output. */
  readonly line: string
  /** Stops the process as Ctrl-C would, and waits until it has exited. */
  stop(): Promise<void>
}

/** A program that signals of the terminal and of batch systems do not reach, since it has its own process group. */
export interface Job {
  readonly ended: Promise<JobEnd>
  signal(name: 'SIGUSR1' | 'SIGTERM'): void
}

/** Thrown by a command that was interrupted and has printed its messages: exit code 130. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
}

/** Thrown after a command has printed the message of its error. */
export class Reported extends Error {
  override readonly name = 'Reported'
  readonly exitCode: number

  constructor(exitCode: number) {
    super('')
    this.exitCode = exitCode
  }
}

/** Colours for a stream. The variables NO_COLOR and FORCE_COLOR decide; without them, a terminal has colours. */
export function colorsFor(output: Output, env: Io['env']): Colors {
  const forced = Boolean(env.FORCE_COLOR) && env.FORCE_COLOR !== '0'
  return pc.createColors(!env.NO_COLOR && (forced || isTerminal(output, env)))
}

/** Whether a stream is a terminal that can move its cursor. */
export function isTerminal(output: Output, env: Io['env']): boolean {
  return output.isTTY === true && env.TERM !== 'dumb'
}

/**
 * Runs `work`. The first Ctrl-C aborts its signal; a second one ends the process immediately.
 *
 * @param onInterrupt Called at the first Ctrl-C, for example to print which work is being finished.
 * @param beforeExit Called at the second Ctrl-C, before the process ends, for example to show the cursor again.
 */
export async function interruptible<T>(
  io: Io,
  work: (signal: AbortSignal) => Promise<T>,
  { onInterrupt = () => {}, beforeExit = () => {} }: { onInterrupt?: () => void; beforeExit?: () => void } = {},
): Promise<T> {
  const controller = new AbortController()
  // Closed pipes do not count as interrupts: a terminal that is closed causes both, in either order.
  let interrupts = 0
  const stopInterrupt = io.onInterrupt(() => {
    if (interrupts++ > 0) {
      beforeExit()
      io.exit(130)
      return
    }
    controller.abort()
    onInterrupt()
  })
  const stopPipe = io.onBrokenPipe(() => controller.abort())
  try {
    return await work(controller.signal)
  } finally {
    stopInterrupt()
    stopPipe()
  }
}

/**
 * Runs `work`, which Ctrl-C ends without a result.
 * @throws Interrupted in place of an error of the work after Ctrl-C
 */
export const untilInterrupted = <T>(io: Io, work: (signal: AbortSignal) => Promise<T>): Promise<T> =>
  interruptible(io, async (signal) => {
    try {
      return await work(signal)
    } catch (error) {
      throw signal.aborted ? new Interrupted() : error
    }
  })

export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
