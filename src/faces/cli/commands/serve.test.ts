/** `choir serve` on fake operations. */
import { expect, test } from 'vitest'
import { UsageError } from '../../../core/errors.ts'
import type { ServeOptions } from '../../serve/server.ts'
import { main } from '../program/main.ts'
import { type Fake, fakeIo } from '../testing/fake.ts'

const shown = (fake: Fake, text: string) => expect.poll(() => fake.stdout.text).toContain(text)

test('serves with the options that are given until Ctrl-C, and exits with 0', async () => {
  const fake = fakeIo()
  const address = ['--port', '7000', '--host', '0.0.0.0', '--token', 'longenough']
  const limits = ['--streams', '8', '--context-memory', '4GiB', '--queue', '5', '--grace', '1m']
  const of = ['--weights', 'int8', '--threads', '2', '--checkpoint', '400', '--no-copy']
  const code = main(['serve', 'runs/demo', 'b.gguf', ...address, ...limits, ...of], fake.io)
  await shown(fake, 'press Ctrl-C')
  const [{ models, signal, onMessage, ...options }] = (fake.calls[0] as (typeof fake.calls)[number]).args as [
    ServeOptions,
  ]
  expect(models).toEqual(['runs/demo', 'b.gguf'])
  expect(options).toEqual({
    ...{ port: 7000, host: '0.0.0.0', token: 'longenough', streams: 8, contextMemory: 2 ** 32, queue: 5, grace: 60 },
    ...{ weights: 'int8', threads: 2, checkpoint: 400, copy: false },
  })
  expect(fake.stdout.text).toContain('http://127.0.0.1:8000/v1')
  expect(fake.stdout.text).toContain('demo     runs/demo, step 20')
  expect(fake.stdout.text).toContain('8 texts at a time in 4.29 GB, 5 waiting')
  expect(fake.stdout.text).not.toContain('longenough')
  fake.interrupt()
  expect(await code).toBe(0)
  expect(fake.calls.map(({ name }) => name)).toEqual(['serve', 'close'])
})

test('with --json prints one line', async () => {
  const fake = fakeIo()
  const code = main(['serve', 'runs/demo', '--json'], fake.io)
  await shown(fake, '\n')
  fake.interrupt()
  expect(await code).toBe(0)
  expect(JSON.parse(fake.stdout.text)).toEqual({
    ...{ kind: 'serve', version: 1, address: 'http://127.0.0.1:8000/v1', streams: 4, queue: 64 },
    models: [{ id: 'demo', directory: 'runs/demo', step: 20 }],
  })
})

test.each([
  [[], "missing required argument 'model'"],
  [['runs/demo', '--streams', '0'], 'invalid --streams: "0" (expected a positive integer)'],
  [['runs/demo', '--context-memory', '4G'], 'invalid --context-memory: "4G" (expected a size such as 500MB'],
  [['runs/demo', '--queue', '-1'], 'invalid --queue: "-1" (expected an integer of at least 0)'],
  [['runs/demo', '--grace', '5'], 'invalid --grace: "5" (expected a time'],
  [['runs/demo', '--port', '70000'], 'invalid --port: "70000"'],
  [['runs/demo', '--math', 'bf16'], "unknown option '--math'"],
])('refuses %j with exit code 2', async (args, message) => {
  const fake = fakeIo()
  expect(await main(['serve', ...args], fake.io)).toBe(2)
  expect(fake.stderr.text).toContain(message)
  expect(fake.calls).toEqual([])
})

test('reports why it does not start, and an interrupt while models are loaded ends it with 130', async () => {
  const refused = fakeIo({ operations: { serve: () => Promise.reject(new UsageError('invalid --port: 7 is taken')) } })
  expect(await main(['serve', 'runs/demo'], refused.io)).toBe(2)
  expect(refused.stderr.text).toBe('choir: invalid --port: 7 is taken\n')
  const serve = ({ signal }: ServeOptions) =>
    new Promise<never>((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
  const loading = fakeIo({ operations: { serve } })
  const code = main(['serve', 'runs/demo'], loading.io)
  // The command is loaded first.
  await expect
    .poll(() => {
      loading.interrupt()
      return Promise.race([code, Promise.resolve('running')])
    })
    .toBe(130)
  expect(loading.stderr.text).toBe('')
})
