/** Runs the command line in this process: real streams, signals and child processes, which commands reach as `Io`. */
import { spawn } from 'node:child_process'
import { relative, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { RunError, UsageError } from '../../../core/errors.ts'
import { worldOf } from '../../../engine/world/mpi/world.ts'
import { endWatch, exitAtOnce, onStopSignals } from '../../../node/interrupts/interrupts.ts'
import { childEnvironment } from '../../../node/system/child-environment.ts'
import type { BackgroundProcess, Io } from '../io.ts'
import { runProgram, startJob } from '../job-process.ts'
import { operations } from '../operations.ts'
import { watchOutputErrors } from '../output-errors.ts'
import { main } from './main.ts'

export async function runProcess(): Promise<void> {
  const output = watchOutputErrors(process.stdout, process.stderr)
  const script = process.argv[1] ?? ''
  const io: Io = {
    // Standard input is opened only when a command reads it: a process that may not read its terminal would be stopped.
    get stdin() {
      return process.stdin
    },
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    operations,
    self: isInClone(script) ? 'node bin/choir.js' : 'choir',
    program: [process.execPath, resolve(script)],
    // The folder is looked up only when a command needs it: if it was removed, that is an error of the command.
    get folder() {
      return process.cwd()
    },
    isRoot: process.getuid?.() === 0,
    now: () => performance.now(),
    onInterrupt(handler) {
      // Batch systems send SIGUSR1 before the time limit, and mpirun passes it on to ranks.
      const unsubscribe = onStopSignals(handler, ['SIGUSR1'])
      // The channel of a background process closes when its parent exits or wants it to stop.
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
  // Output to a pipe may still be buffered: exit only after it is flushed, unless its reader has closed it.
  if (!output.isClosed) await new Promise<void>((resolve) => process.stdout.write('', () => resolve()))
  await endWatch()
  // A usual exit of Node aborts if it cannot reset a terminal that is gone, and it waits for native calls, such as a
  // compilation. Interrupted ranks exit in the usual way: they compile to the end, since the first rank that exits may
  // end the others, which still have messages to write.
  const isLeft = code === 130 && !worldOf(process.env)
  if (output.isClosed || isLeft) exitAtOnce(output.exitCode(code))
  process.exit(output.exitCode(code))
}

/** Whether the program is run from a clone of Choir that is the current folder. */
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
      // The child has printed the reason. Wrong usage of the child is wrong usage of this process too.
      else reject(new (code === 2 ? UsageError : RunError)(`choir ${args.join(' ')} ended with exit code ${code}`))
    })
  })
}

function startSelf(script: string, args: readonly string[]): Promise<BackgroundProcess> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: childEnvironment(),
      // The child has its own process group: Ctrl-C is for this process, which then stops the child.
      detached: true,
      windowsHide: true,
    })
    let errorText = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errorText = `${errorText}${text}`.slice(-2000)
    })
    // The event is 'exit': 'close' is never emitted after this process has disconnected the channel.
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
