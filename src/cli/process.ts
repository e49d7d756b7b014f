/**
 * The command line in a real process: streams, signals, the operations, and an exit code at the end.
 * The only file that touches `process`.
 */
import { spawn } from 'node:child_process'
import { relative } from 'node:path'
import { createInterface } from 'node:readline'
import { RunError, UsageError } from '../errors.ts'
import type { Beside, Io } from './io.ts'
import { main } from './main.ts'
import { operations } from './operations.ts'

export async function runProcess(): Promise<void> {
  const pipeHandlers = new Set<() => void>()
  let broken = false
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      broken = true
      for (const handler of pipeHandlers) handler()
    })
  const script = process.argv[1] ?? ''
  const fromHere = relative(process.cwd(), script)
  const io: Io = {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    operations: operations,
    self: fromHere.replaceAll('\\', '/') === 'bin/choir.js' ? 'node bin/choir.js' : 'choir',
    now: () => performance.now(),
    onInterrupt(handler) {
      process.on('SIGINT', handler)
      process.on('SIGTERM', handler)
      // Of a process that another one started beside itself: that one is gone, or wants this one to end.
      process.on('disconnect', handler)
      return () => {
        process.off('SIGINT', handler)
        process.off('SIGTERM', handler)
        process.off('disconnect', handler)
      }
    },
    onBrokenPipe(handler) {
      if (broken) handler()
      pipeHandlers.add(handler)
      return () => pipeHandlers.delete(handler)
    },
    exit: (code) => process.exit(code),
    runSelf: (args, env = {}) => runSelf(script, args, env),
    startSelf: (args) => startSelf(script, args),
    openBrowser,
  }
  const code = await main(process.argv.slice(2), io)
  // Text may still be on its way to a pipe: leave only when it has gone (or nobody reads).
  if (!broken) await new Promise<void>((resolve) => process.stdout.write('', () => resolve()))
  process.exit(code)
}

function runSelf(script: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
    })
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve(text)
      // It has said why; what was wrong usage there is wrong usage here.
      else reject(new (code === 2 ? UsageError : RunError)(`choir ${args.join(' ')} ended with exit code ${code}`))
    })
  })
}

function startSelf(script: string, args: readonly string[]): Promise<Beside> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // In a group of its own: Ctrl-C is for this process, which then ends the other.
      detached: true,
      windowsHide: true,
    })
    let complaint = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint = `${complaint}${text}`.slice(-2000)
    })
    // A process whose channel is closed from here exits, but is never said to close.
    const exited = new Promise<void>((ended) => child.on('exit', () => ended()))
    const stop = async (): Promise<void> => {
      if (child.connected) child.disconnect()
      const timer = setTimeout(() => child.kill('SIGKILL'), 5000)
      await exited
      clearTimeout(timer)
    }
    child.on('error', reject)
    if (child.stdout) createInterface({ input: child.stdout }).once('line', (line) => resolve({ line, stop }))
    child.on('close', (code) => {
      const said = complaint
        .trim()
        .split('\n')[0]
        ?.replace(/^choir: /, '')
      reject(new RunError(said || `choir ${args.join(' ')} ended with exit code ${code}`))
    })
  })
}

function openBrowser(address: string): void {
  const [command, ...before] =
    process.platform === 'darwin'
      ? ['open']
      : process.platform === 'win32'
        ? ['rundll32', 'url.dll,FileProtocolHandler']
        : ['xdg-open']
  const child = spawn(command as string, [...before, address], { stdio: 'ignore', detached: true })
  child.on('error', () => {})
  child.unref()
}
