/** Runs the command line in this process: real streams, signals and child processes. Only this file uses `process`. */
import { spawn } from 'node:child_process'
import { relative, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { RunError, UsageError } from '../../core/errors.ts'
import { worldOf } from '../../engine/world/mpi/world.ts'
import { endWatch, exitAtOnce, onStopSignals } from '../../node/interrupts/interrupts.ts'
import { childEnvironment } from '../../node/system/child-environment.ts'
import type { BackgroundProcess, Io } from './io.ts'
import { runProgram, startJob } from './job-process.ts'
import { main } from './main.ts'
import { operations } from './operations.ts'
import { watchOutputErrors } from './output-errors.ts'

export async function runProcess(): Promise<void> {
  const output = watchOutputErrors(process.stdout, process.stderr)
  const script = process.argv[1] ?? ''
  const io: Io = {
    // Opened when it is read: a process that may not read its terminal would be stopped.
    get stdin() {
      return process.stdin
    },
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    operations,
    self: isInClone(script) ? 'node bin/choir.js' : 'choir',
    program: [process.execPath, resolve(script)],
    // If the folder was removed, commands report that.
    get folder() {
      return process.cwd()
    },
    isRoot: process.getuid?.() === 0,
    now: () => performance.now(),
    onInterrupt(handler) {
      // Batch systems send SIGUSR1 before the time limit, and mpirun passes it on to ranks.
      const unsubscribe = onStopSignals(handler, ['SIGUSR1'])
      // In a background process: its parent has exited, or wants it to stop.
      process.on('disconnect', handler)
      return () => {
        unsubscribe()
        process.off('disconnect', handler)
      }
    },
    onBrokenPipe: output.onClosed,
    exit: exitAtOnce,
    runSelf: (args, env = {}) => runSelf(script, args, env),
    startSelf: (args) => startSelf(script, args),
    runProgram,
    startJob: (words, env) => startJob(words, env, process),
    sleep: (milliseconds, signal) => delay(milliseconds, undefined, { signal }).catch(() => {}),
    openBrowser,
  }
  const code = await main(process.argv.slice(2), io)
  // Output to a pipe may still be buffered: exit only after it is flushed, or if nobody reads it.
  if (!output.isClosed) await new Promise<void>((resolve) => process.stdout.write('', () => resolve()))
  await endWatch()
  // Node aborts if it cannot reset a terminal that is gone, and waits for native calls, such as one that compiles. Ranks
  // compile to the end, and the first to exit may end the others, which have messages to write.
  const isLeft = code === 130 && !worldOf(process.env)
  if (output.isClosed || isLeft) exitAtOnce(output.exitCode(code))
  process.exit(output.exitCode(code))
}

/** Whether the program was started in a clone, in whose folder the process is. */
function isInClone(script: string): boolean {
  try {
    return relative(process.cwd(), script).replaceAll('\\', '/') === 'bin/choir.js'
  } catch {
    return false
  }
}

function runSelf(script: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...childEnvironment(), ...env },
    })
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve(text)
      // The child has printed the reason. Its wrong usage is wrong usage here too.
      else reject(new (code === 2 ? UsageError : RunError)(`choir ${args.join(' ')} ended with exit code ${code}`))
    })
  })
}

function startSelf(script: string, args: readonly string[]): Promise<BackgroundProcess> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: childEnvironment(),
      // A process group of its own, since Ctrl-C is for this process, which then stops the child.
      detached: true,
      windowsHide: true,
    })
    let errorText = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errorText = `${errorText}${text}`.slice(-2000)
    })
    // Not 'close', which is never emitted after the channel is disconnected from here.
    const exited = new Promise<void>((resolveExit) => child.on('exit', () => resolveExit()))
    const stop = async (): Promise<void> => {
      if (child.connected) child.disconnect()
      const timer = setTimeout(() => child.kill('SIGKILL'), 5000)
      await exited
      clearTimeout(timer)
    }
    child.on('error', reject)
    if (child.stdout) createInterface({ input: child.stdout }).once('line', (line) => resolve({ line, stop }))
    child.on('close', (code) => {
      const reason = errorText
        .trim()
        .split('\n')[0]
        ?.replace(/^choir: /, '')
      reject(new RunError(reason || `choir ${args.join(' ')} ended with exit code ${code}`))
    })
  })
}

function openBrowser(address: string): void {
  const [command, ...leadingArgs] =
    process.platform === 'darwin'
      ? ['open']
      : process.platform === 'win32'
        ? ['rundll32', 'url.dll,FileProtocolHandler']
        : ['xdg-open']
  const child = spawn(command as string, [...leadingArgs, address], {
    stdio: 'ignore',
    env: childEnvironment(),
    detached: true,
  })
  child.on('error', () => {})
  child.unref()
}
