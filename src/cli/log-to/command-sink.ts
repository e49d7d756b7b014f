/** A command that reads lines from its standard input. It ends at the end of the input, not by Ctrl-C. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { childEnvironment } from '../../system/child-environment.ts'
import type { LineSink } from './line-sink.ts'

export interface CommandOptions {
  /** Receives what the command prints, line by line. */
  readonly onOutput: (line: string) => void
  /** Time that it has to end after its input. */
  readonly endMs: number
}

export function commandSink(command: string, { onOutput, endMs }: CommandOptions): LineSink {
  const child = spawn(command, {
    shell: true,
    stdio: 'pipe',
    env: childEnvironment(),
    // A process group of its own, out of reach of Ctrl-C in the terminal.
    detached: process.platform !== 'win32',
  })
  for (const output of [child.stdout, child.stderr]) createInterface({ input: output }).on('line', onOutput)
  // A write to a command that has ended fails here, and in its callback.
  child.stdin.on('error', () => {})
  const ended = new Promise<string>((resolve) => {
    child.on('error', (error) => resolve(`cannot be started: ${error.message}`))
    child.on('exit', (code, signal) => resolve(`ended with ${signal ? `signal ${signal}` : `exit code ${code}`}`))
  })
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
      if (outcome !== 'ended with exit code 0') throw new Error(`the command ${outcome}`)
    },
  }
}

/** Undefined if it takes longer. */
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
