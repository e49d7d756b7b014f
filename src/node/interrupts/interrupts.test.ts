/**
 * The tested program is a process of its own, from the build, because a signal concerns a whole process.
 *
 * @slow
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const built = new URL('../../../dist/node/interrupts/interrupts.js', import.meta.url).href

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-interrupts-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Work that keeps the main thread from its signal handlers. Each lasts longer than a test. */
const busy = {
  'a loop of JavaScript': 'for (const end = Date.now() + 60_000; Date.now() < end; );',
  'native code': 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000)',
}

/** A program that ends with exit code 130 at a second signal, as commands do. */
const program = (work: string) => `
import { exitAtOnce, onStopSignals } from ${JSON.stringify(built)}
const print = (text) => process.stdout.write(text + '\\n')
let signals = 0
process.on('exit', () => print('exit'))
const unsubscribe = onStopSignals(() => {
  print('signal')
  if (++signals === 2) exitAtOnce(130)
})
setInterval(() => {}, 60_000)
setTimeout(() => print('ready'), 300)
${work}`

function start(work: string, env: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program(work)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  })
  const lines: string[] = []
  const output = createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
  const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  const line = async (text: string): Promise<void> => {
    while (!lines.includes(text)) await once(output, 'line')
  }
  return { child, ended, line, lines }
}

describe.skipIf(process.platform === 'win32')('SIGHUP', () => {
  test('reaches the handler once, however often it comes, and a Ctrl-C after it ends the process', async () => {
    const { child, ended, line, lines } = start('', { _: process.execPath })
    await line('ready')
    child.kill('SIGHUP')
    await line('signal')
    child.kill('SIGHUP')
    await delay(100)
    expect(lines).toEqual(['ready', 'signal'])
    child.kill('SIGINT')
    expect(await ended).toEqual([130, null])
  })

  test('does nothing under nohup', async () => {
    const { child, ended, line, lines } = start('', { _: '/usr/bin/nohup' })
    await line('ready')
    child.kill('SIGHUP')
    await delay(100)
    expect(lines).toEqual(['ready'])
    child.kill('SIGKILL')
    await ended
  })
})

describe.skipIf(process.platform === 'win32').each(['SIGINT', 'SIGTERM'] as const)('%s', (signal) => {
  test('reaches the handler the first time, and the second time ends the process with 130 after exit listeners', async () => {
    const { child, ended, line, lines } = start('')
    await line('ready')
    child.kill(signal)
    await line('signal')
    await delay(100)
    expect(child.exitCode).toBe(null)
    child.kill(signal)
    expect(await ended).toEqual([130, null])
    expect(lines).toEqual(['ready', 'signal', 'signal', 'exit'])
  })

  test.each(Object.entries(busy))(
    'sent twice ends a process whose main thread is in %s at the first signal',
    async (_, work) => {
      const { child, ended, line } = start(`setTimeout(() => { print('busy'); ${work} }, 300)`)
      await line('busy')
      child.kill(signal)
      await delay(100)
      expect(child.exitCode).toBe(null)
      child.kill(signal)
      expect(await ended).toEqual([null, signal])
    },
  )

  test.each(Object.entries(busy))(
    'sent twice ends a process whose main thread is in %s after the first signal',
    async (_, work) => {
      const { child, ended, line } = start(`
      const timer = setInterval(() => { if (signals === 1) { clearInterval(timer); print('busy'); ${work} } }, 10)`)
      await line('ready')
      child.kill(signal)
      await line('busy')
      await delay(300)
      expect(child.exitCode).toBe(null)
      child.kill(signal)
      expect(await ended).toEqual([130, null])
    },
  )

  test('sent twice ends a process with a thread that waits for a pipe without a writer', async () => {
    const pipe = join(folder, `pipe-${signal}`)
    spawnSync('mkfifo', [pipe])
    const { child, ended, line } = start(`import { open } from 'node:fs/promises'; void open(${JSON.stringify(pipe)})`)
    await line('ready')
    child.kill(signal)
    await line('signal')
    await delay(100)
    child.kill(signal)
    expect(await ended).toEqual([130, null])
  })

  test('sent twice in a row, as GNU timeout does to a process and its group, counts as one signal', async () => {
    const { child, ended, line, lines } = start(
      `process.once('${signal}', () => process.kill(process.pid, '${signal}'))`,
    )
    await line('ready')
    child.kill(signal)
    await line('signal')
    await delay(300)
    expect([child.exitCode, lines]).toEqual([null, ['ready', 'signal']])
    child.kill(signal)
    expect(await ended).toEqual([130, null])
  })

  // Ending a thread while it loads a native library aborts the process (Node 22: in one of a hundred such programs).
  test('sent once lets a program that ends soon afterwards end in order', async () => {
    const codes = Array.from({ length: 40 }, async (_, i) => {
      const { child, ended, line } = start(`
        import { endWatch } from ${JSON.stringify(built)}
        const end = async () => { unsubscribe(); await endWatch(); process.exit(3) }
        const timer = setInterval(() => { if (signals === 1) { clearInterval(timer); setTimeout(end, ${i}) } }, 1)`)
      await line('ready')
      child.kill(signal)
      return (await ended)[0]
    })
    expect(new Set(await Promise.all(codes))).toEqual(new Set([3]))
  })

  test('ends the process if no listener is left; the thread of earlier listeners does not', async () => {
    const { child, ended, line } = start(`
      const timer = setInterval(() => { if (signals === 1) { clearInterval(timer); unsubscribe() } }, 10)`)
    await line('ready')
    child.kill(signal)
    await line('signal')
    await delay(500)
    expect(child.exitCode).toBe(null)
    child.kill(signal)
    expect(await ended).toEqual([null, signal])
  })
})
