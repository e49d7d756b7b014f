/** Runs other programs in child processes. */
import { execFile, spawn } from 'node:child_process'
import type { Job, Output } from './io.ts'

/** Characters that are kept of the end of standard error, which has the messages of mpirun about a failure. */
const KEPT_TEXT = 16_384

const TIMEOUT_MS = 30_000

export function runProgram([file = '', ...args]: readonly string[]): Promise<{ code: number | null; text: string }> {
  return new Promise((resolve) => {
    const child = execFile(file, args, { timeout: TIMEOUT_MS }, (error, stdout, stderr) => {
      const code = error ? error.code : 0
      resolve({ code: typeof code === 'number' ? code : null, text: `${stdout}${stderr}` })
    })
    child.stdin?.end()
  })
}

/** @param streams Streams on which the output of the program appears. */
export function startJob(
  [file = '', ...args]: readonly string[],
  env: Readonly<Record<string, string>>,
  streams: { readonly stdout: Output; readonly stderr: Output },
): Job {
  const child = spawn(file, args, {
    // The program has no input: the system stops a program in the background that reads from the terminal.
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    // The program has its own process group, which Ctrl-C in the terminal does not reach.
    detached: true,
  })
  let text = ''
  child.stdout.pipe(streams.stdout, { end: false })
  child.stderr.pipe(streams.stderr, { end: false })
  child.stderr.on('data', (chunk: Buffer) => {
    text = `${text}${chunk}`.slice(-KEPT_TEXT)
  })
  return {
    ended: new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code, signal) => resolve({ code, ...(signal && { signal }), text }))
    }),
    signal: (name) => void child.kill(name),
  }
}
