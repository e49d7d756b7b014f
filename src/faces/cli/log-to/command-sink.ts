/** A command that reads lines from its standard input. It ends at the end of its input, not at Ctrl-C. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { childEnvironment } from '../../../node/system/child-environment.ts'
import type { LineSink } from './line-sink.ts'

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
