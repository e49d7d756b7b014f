import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import type { TrainEvent, TrainSummary } from '../../../train/loop/events.ts'
import type { Display } from '../display/display.ts'
import { main } from '../program/main.ts'
import { fakeIo } from '../testing/fake.ts'
import { addressSink, commandSink, type LineSink, loopbackAddress } from './sinks.ts'
import { StepLog } from './step-log.ts'

let folder: string
let config: RunConfig
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'choir-log-to-'))
  config = await loadConfig('tiny', [])
})
afterAll(() => rmSync(folder, { recursive: true }))

let messages: string[]
beforeEach(() => {
  messages = []
})
const display: Display = {
  event: (event) => void messages.push('message' in event ? event.message : ''),
  note: (text) => void messages.push(text),
  close() {},
}

const step = (n: number): TrainEvent => ({ kind: 'checkpoint', step: n, path: 'a' })
const summary = { directory: 'a', step: 3 } as TrainSummary

const train = (command: string) => ['train', 'tiny', '--out', join(folder, 'run'), '--log-to', command]

const command = (text: string, endMs = 10_000): LineSink =>
  commandSink(text, { onOutput: (line) => void messages.push(`output: ${line}`), endMs })

describe.skipIf(process.platform === 'win32')('a command', () => {
  test('gets the settings, every line and the end of its input, and is awaited', async () => {
    const file = join(folder, 'lines')
    const fake = fakeIo()
    expect(await main(train(`cat > ${file}; sleep 0.2; echo done; touch ${file}.end`), fake.io)).toBe(0)
    expect(existsSync(`${file}.end`)).toBe(true)
    expect(fake.stderr.text).toBe('choir: --log-to: done\n')
    const lines = readFileSync(file, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines[0]).toMatchObject({ kind: 'start', version: 1, config: { train: { steps: 20 } } })
    expect(lines.filter(({ kind }) => kind === 'train').map((line) => line.step)).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 1),
    )
    expect(lines.at(-1)).toMatchObject({ kind: 'summary', step: 20, tokens_per_second: 12_345 })
  })

  test('that prints very much has only its first lines shown, and the training goes on', async () => {
    const fake = fakeIo()
    expect(await main(train('yes | head -n 200000 & cat > /dev/null; wait'), fake.io)).toBe(0)
    const lines = fake.stderr.text.trimEnd().split('\n')
    expect(lines.slice(0, 3)).toEqual(Array.from({ length: 3 }, () => 'choir: --log-to: y'))
    expect(lines.at(-1)).toBe('choir: --log-to: (further output of the command is not shown)')
    expect(lines).toHaveLength(101)
  })

  test('that prints an endless line has only the beginning of the line shown', async () => {
    const sink = command('head -c 5000000 /dev/zero | tr "\\\\0" a')
    await sink.close()
    expect(messages).toEqual([`output: ${'a'.repeat(2000)}`])
  })

  test('after Ctrl-C gets the last lines too', async () => {
    const file = join(folder, 'stopped')
    const fake = fakeIo({ onStep: (n, { interrupt }) => n === 3 && interrupt() })
    const args = ['train', 'tiny', '--json', '--out', join(folder, 'run'), '--log-to', `cat > ${file}`]
    expect(await main(args, fake.io)).toBe(130)
    const last = readFileSync(file, 'utf8').trimEnd().split('\n').at(-1) ?? ''
    expect(JSON.parse(last)).toMatchObject({ kind: 'summary', step: 3, interrupted: true })
  })

  test.each([
    ['that does not exist', 'choir-no-such-command', /the command ended with exit code 127/],
    ['that ends early', 'head -1 > /dev/null; exit 3', /the command ended with exit code 3/],
  ])('%s gives one warning, and the number of lost lines', async (_, text, warning) => {
    const log = new StepLog(command(text), config, display)
    for (let n = 1; n <= 50; n++) {
      log.event(step(n))
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await log.close()
    const own = messages.filter((message) => message.startsWith('--log-to'))
    expect(own).toHaveLength(2)
    expect(own[0]).toMatch(warning)
    expect(own[0]).toContain('the training goes on')
    expect(own[1]).toMatch(/\d+ of 50 lines were not delivered/)
  })

  test('that fails at its end gives a warning', async () => {
    const log = new StepLog(command('cat > /dev/null; exit 4'), config, display)
    log.summary(summary)
    await log.close()
    expect(messages).toEqual(['--log-to: the command ended with exit code 4'])
  })

  test('that does not read loses lines, and is stopped', async () => {
    const log = new StepLog(command('exec sleep 100', 100), config, display, { queue: 5, ms: 100 })
    // A pipe takes 64 KiB before the command reads any of it.
    const long = 'a'.repeat(100_000)
    for (let n = 1; n <= 20; n++) log.event({ kind: 'checkpoint', step: n, path: long })
    await log.close()
    expect(messages).toEqual([
      expect.stringMatching(/the receiver is slower than the training; the training goes on/),
      expect.stringMatching(/^--log-to: \d\d of 20 lines were not delivered$/),
    ])
  })
})

/** A Python module that replaces Weights & Biases, and writes down the arguments of its calls. */
const wandb = `
import json, os
def write(*call): open(os.environ["CALLS"], "a").write(json.dumps(call) + "\\n")
class Run:
    def log(self, values, step): write("log", values, step)
    def finish(self): write("finish")
def init(**options):
    write("init", options)
    return Run()
`

const hasPython = spawnSync('python3', ['--version']).status === 0

test.skipIf(!hasPython)('the example for Weights & Biases logs settings, steps and evaluations', async () => {
  writeFileSync(join(folder, 'wandb.py'), wandb)
  const calls = join(folder, 'calls')
  const script = fileURLToPath(new URL('../../../../examples/log-to/wandb_offline.py', import.meta.url))
  const target = `PYTHONPATH=${folder} CALLS=${calls} python3 ${script}`
  const fake = fakeIo()
  expect(await main(['train', 'tiny', '--out', join(folder, 'run'), '--log-to', target], fake.io)).toBe(0)
  expect(fake.stderr.text).toBe('')
  const lines = readFileSync(calls, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(lines[0]).toEqual([
    'init',
    expect.objectContaining({ mode: 'offline', config: expect.objectContaining({ train: expect.anything() }) }),
  ])
  expect(lines.slice(1, -1).map(([name, , n]) => [name, n])).toEqual(
    Array.from({ length: 20 }, (_, i) => i + 1).flatMap((n) =>
      n % 10 === 0
        ? [
            ['log', n],
            ['log', n],
          ]
        : [['log', n]],
    ),
  )
  expect(lines[1][1]).toMatchObject({ 'train/loss': 5.9, 'train/tokens_per_second': 12_345 })
  expect(lines.at(-2)[1]).toMatchObject({ 'eval/bits_per_byte': 1.7123 })
  expect(lines.at(-1)).toEqual(['finish'])
})

describe('an address', () => {
  let server: Server
  let bodies: string[]
  let status: number
  beforeEach(async () => {
    bodies = []
    status = 200
    server = createServer(async (request, response) => {
      let body = ''
      for await (const chunk of request) body += chunk
      bodies.push(`${request.method} ${request.url} ${body}`)
      response.writeHead(status, status === 302 ? { location: 'http://example.com/' } : {}).end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  })
  afterEach(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/log`

  async function send(address: string): Promise<void> {
    const log = new StepLog(addressSink(loopbackAddress(address), 10_000), config, display)
    for (let n = 1; n <= 3; n++) log.event(step(n))
    await log.close()
  }

  test('gets a request for each line, in order', async () => {
    await send(url())
    expect(messages).toEqual([])
    expect(bodies).toEqual([
      'POST /log {"kind":"checkpoint","version":1,"step":1,"path":"a"}\n',
      'POST /log {"kind":"checkpoint","step":2,"path":"a"}\n',
      'POST /log {"kind":"checkpoint","step":3,"path":"a"}\n',
    ])
  })

  test.each([500, 302])('that answers %d gives one warning, and still gets the other lines', async (code) => {
    status = code
    await send(url())
    expect(bodies).toHaveLength(3)
    expect(messages).toEqual([
      expect.stringMatching(
        /^--log-to: http:.* (answers with status 500|does not answer: .*redirect.*); the training goes on/,
      ),
      '--log-to: 3 of 3 lines were not delivered',
    ])
  })

  test('that nobody listens at gives one warning', async () => {
    const address = url()
    await new Promise((resolve) => server.close(resolve))
    await send(address)
    expect(messages).toEqual([
      expect.stringMatching(/does not answer: connect ECONNREFUSED/),
      '--log-to: 3 of 3 lines were not delivered',
    ])
  })

  test.each([
    'http://example.com/',
    'https://127.0.0.1/',
    'http://127.0.0.1.example.com/',
    'http://user@127.0.0.1/',
    '',
  ])('that is not on this machine is refused: %s', async (address) => {
    const fake = fakeIo()
    expect(await main(['train', 'tiny', '--log-to', address], fake.io)).toBe(2)
    expect(fake.stderr.text).toMatch(/invalid --log-to: ".*" \(expected .*an? .*http address/)
    expect(fake.calls).toEqual([])
  })

  test.each(['http://127.0.0.1:1/', 'http://localhost:8080/a', 'http://[::1]:1/', 'http://127.1.2.3/'])(
    'on this machine is accepted: %s',
    (address) => expect(loopbackAddress(address).href).toBe(address),
  )
})
