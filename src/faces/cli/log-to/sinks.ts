/** The option `--log-to`, and the receivers that it names: a command, or an address on this machine. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { Option } from 'commander'
import { UsageError } from '../../../core/errors.ts'
import { childEnvironment } from '../../../node/system/child-environment.ts'

export function logToOption(): Option {
  const description =
    'also send a line of JSON a step to this command (its standard input), or as POST to http://127.0.0.1:PORT/...; a ' +
    'receiver that fails or is slow does not disturb the training'
  return new Option('--log-to <target>', description).argParser((target: string) => {
    if (target.trim() === '') throw new UsageError('invalid --log-to: "" (expected a command, or an http address)')
    if (isAddress(target)) loopbackAddress(target)
    return target
  })
}

/** A receiver of lines. */
export interface LineSink {
  /**
   * Delivers a line, which includes its line break. Waits until the receiver takes it.
   * @throws Error if the line cannot be delivered
   */
  send(line: string): Promise<void>
  /**
   * Ends the receiver after the last line, and waits for a limited time until it has ended.
   * @throws Error if the receiver failed or did not end in time
   */
  close(): Promise<void>
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/

/** Whether a target is meant as an address, not as a command. */
export const isAddress = (target: string): boolean => /^\w+:\/\//.test(target.trim())

/** @throws UsageError if `text` is not an http address on this machine */
export function loopbackAddress(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol === 'http:' && LOOPBACK.test(url.hostname) && !url.username) return url
  throw new UsageError(
    `invalid --log-to: ${JSON.stringify(text)} (expected an http address on this machine, such as ` +
      'http://127.0.0.1:8080/log: Choir sends nothing elsewhere; give a command that does, such as a script)',
  )
}

/**
 * Sends each line to an address, as a POST request.
 * @param timeoutMs Time that the receiver has to answer.
 */
export function addressSink(url: URL, timeoutMs: number): LineSink {
  return {
    async send(line) {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: line,
        // A redirect could lead to another machine.
        redirect: 'error',
        signal: AbortSignal.timeout(timeoutMs),
      }).catch((error: Error) => {
        throw new Error(`${url.href} does not answer: ${((error.cause as Error | undefined) ?? error).message}`)
      })
      await response.arrayBuffer()
      if (!response.ok) throw new Error(`${url.href} answers with status ${response.status}`)
    },
    async close() {},
  }
}

export interface CommandOptions {
  /** Receives the first {@link SHOWN_LINES} lines that the command prints, each cut to {@link LINE_CHARACTERS}. */
  readonly onOutput: (line: string) => void
  /** Time that the command has to end after its input has ended. */
  readonly endMs: number
}

const SHOWN_LINES = 100
const LINE_CHARACTERS = 2000
/** Pause between pieces of output, so that a command that never stops printing takes little time from the training. */
const PIECE_MS = 10
/** Time to wait for the last output of a command that has ended. */
const OUTPUT_MS = 1000

/** Starts a command that reads the lines from its standard input. It ends at the end of its input, not at Ctrl-C. */
export function commandSink(command: string, { onOutput, endMs }: CommandOptions): LineSink {
  const child = spawn(command, {
    shell: true,
    stdio: 'pipe',
    env: childEnvironment(),
    // The command has its own process group, which Ctrl-C in the terminal does not reach.
    detached: process.platform !== 'win32',
  })
  showOutput([child.stdout, child.stderr], onOutput)
  // A write to a command that has ended emits an error here; the callback of the write handles it.
  child.stdin.on('error', () => {})
  const ended = new Promise<string>((resolve) => {
    child.on('error', (error) => resolve(`cannot be started: ${error.message}`))
    child.on('exit', (code, signal) => resolve(`ended with ${signal ? `signal ${signal}` : `exit code ${code}`}`))
  })
  const printed = once(child, 'close').catch(() => {})
  return {
    send: (line) =>
      new Promise((resolve, reject) => {
        const fail = async () => reject(new Error(`the command ${await ended}`))
        child.stdin.write(line, (error) => (error ? void fail() : resolve()))
      }),
    async close() {
      child.stdin.end()
      const outcome = await within(ended, endMs)
      if (outcome === undefined) {
        if (child.pid !== undefined && process.platform !== 'win32') process.kill(-child.pid, 'SIGTERM')
        else child.kill()
        throw new Error(`the command had not ended ${endMs / 1000} s after the end of its input, and was stopped`)
      }
      // A program that the command has left running may keep the output open.
      await within(printed, OUTPUT_MS)
      if (outcome !== 'ended with exit code 0') throw new Error(`the command ${outcome}`)
    },
  }
}

/** Reads all output, and shows the first lines. */
function showOutput(streams: readonly Readable[], show: (line: string) => void): void {
  let shown = 0
  const showLine = (line: string): void => {
    if (shown < SHOWN_LINES) show(line.slice(0, LINE_CHARACTERS))
    else if (shown === SHOWN_LINES) show('(further output of the command is not shown)')
    shown++
  }
  for (const stream of streams) {
    let rest = ''
    stream.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split(/\r?\n/)
      rest = (lines.pop() ?? '').slice(0, LINE_CHARACTERS)
      for (const line of lines.slice(0, SHOWN_LINES + 1)) showLine(line)
      stream.pause()
      setTimeout(() => stream.resume(), PIECE_MS).unref()
    })
    stream.on('end', () => {
      if (rest !== '') showLine(rest)
    })
  }
}

/** The result of a promise; undefined if it takes longer. */
export async function within<T>(promise: Promise<T>, milliseconds: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), milliseconds)
  })
  try {
    return await Promise.race([promise, timeout])
  } finally {
    clearTimeout(timer)
  }
}
