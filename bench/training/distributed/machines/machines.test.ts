/** Machines in network namespaces, as root on Linux. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { machinesScript } from '../world.ts'

vi.setConfig({ testTimeout: 60_000 })

const namespaces = ['--net', '--mount', '--uts', '--ipc', '--pid', '--fork']
const obstacle =
  process.getuid?.() !== 0
    ? 'only root can start machines'
    : spawnSync('unshare', [...namespaces, 'sh', '-c', 'ip link add a-test type veth peer name b-test']).status !== 0
      ? 'this root cannot create networks, or iproute2 is not installed'
      : undefined
const it = (title: string, run: () => Promise<void>): void => {
  test.skipIf(obstacle !== undefined)(obstacle ? `${title} (${obstacle})` : title, run)
}

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const started: ChildProcess[] = []
afterEach(() => {
  // A child is still running only if a test failed.
  for (const child of started.splice(0)) child.kill('SIGKILL')
})

function start(...args: string[]): { readonly child: ChildProcess; readonly ended: Promise<Ended> } {
  // The command has a process group of its own, as when a shell starts it.
  const child = spawn(machinesScript, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  started.push(child)
  const texts = { stdout: '', stderr: '' }
  child.stdout.on('data', (data) => {
    texts.stdout += data
  })
  child.stderr.on('data', (data) => {
    texts.stderr += data
  })
  return { child, ended: once(child, 'close').then(([code]) => ({ code: code as number | null, ...texts })) }
}

/** Processes with a text in their command line. */
function processesWith(text: string): string[] {
  return readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(text)
    } catch {
      return false // The process has ended.
    }
  })
}

it('machines have names and addresses of their own, and the exit code of the command is passed on', async () => {
  const { ended } = start(
    '--machines',
    '2',
    'bash',
    '-c',
    'for m in a b; do ssh $m "hostname; getent hosts b"; done; ssh c true',
  )
  const { code, stdout, stderr } = await ended
  expect(stdout.replaceAll(/ +/g, ' ')).toBe('a\n10.77.0.2 b\nb\n10.77.0.2 b\n')
  expect(stderr).toContain('no machine c')
  expect(code).toBe(255)
})

it('data that a machine sends crosses its link, which is not faster than its rate', async () => {
  const bytes = 8_000_000
  const receive = `require('net').createServer((s) => s.resume().on('end', () => process.exit())).listen(9999)`
  const send = `
    const before = Date.now()
    const connect = () => require('net').connect(9999, 'b')
      .on('error', () => setTimeout(connect, 20))
      .on('connect', function () { this.end(Buffer.alloc(${bytes})) })
      .on('close', (failed) => { if (!failed) console.log(Date.now() - before) })
    connect()`
  const folder = mkdtempSync(join(tmpdir(), 'choir-machines-'))
  writeFileSync(join(folder, 'receive.cjs'), receive)
  writeFileSync(join(folder, 'send.cjs'), send)
  const script = 'cd "$0"; ssh b node receive.cjs & ssh a node send.cjs; wait; ssh a grep eth0 /proc/net/dev'
  const { ended } = start('--machines', '2', '--rate', '100mbit', 'bash', '-c', script, folder)
  const { code, stdout, stderr } = await ended
  rmSync(folder, { recursive: true })
  expect(stderr).toBe('')
  expect(code).toBe(0)
  const [ms = '', counters = ''] = stdout.split('\n')
  // Bursts pass at once.
  expect(Number(ms)).toBeGreaterThan(((bytes - 300_000) * 8) / 100_000)
  expect(Number(counters.trim().split(/\s+/)[9])).toBeGreaterThan(bytes)
})

for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const)
  it(`after ${signal} no process and no network is left`, async () => {
    const before = Object.keys(networkInterfaces())
    const marker = `98765.${process.pid}${signal.length}${signal.charCodeAt(3)}`
    const { child, ended } = start(
      '--machines',
      '2',
      'bash',
      '-c',
      `ssh a 'sleep ${marker} & wait' & ssh b 'sleep ${marker}'`,
    )
    await vi.waitFor(() => expect(processesWith(`sleep\0${marker}`)).toHaveLength(2), { timeout: 20_000 })
    const pid = child.pid as number
    // A terminal sends Ctrl-C to all processes of the group.
    process.kill(signal === 'SIGINT' ? -pid : pid, signal)
    expect((await ended).code).not.toBe(0)
    await vi.waitFor(() => expect(processesWith(marker)).toEqual([]), { timeout: 20_000 })
    expect(Object.keys(networkInterfaces())).toEqual(before)
  })

test('wrong usage is reported', () => {
  const errorOf = (...args: string[]) => {
    const { status, stderr } = spawnSync(machinesScript, args, { encoding: 'utf8' })
    return `${status}: ${stderr}`
  }
  expect(errorOf('--machines', '0', 'true')).toMatch(/^2: .*invalid --machines: 0/)
  expect(errorOf('--speed', '1', 'true')).toMatch(/^2: .*unknown option --speed/)
  expect(errorOf('--machines', '2')).toMatch(/^2: .*no command/)
})
