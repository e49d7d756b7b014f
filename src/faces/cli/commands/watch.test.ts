/** `choir watch`, `choir play` and `choir train --watch`, on fake operations. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RunError, UsageError } from '../../../core/errors.ts'
import { main } from '../program/main.ts'
import { type Fake, fakeIo } from '../testing/fake.ts'

const address = 'http://127.0.0.1:6007/'
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-cli-watch-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const names = (fake: Fake): string[] => fake.calls.map(({ name }) => name)

/** Waits until standard output contains `text`. */
async function shown(fake: Fake, text: string): Promise<void> {
  await expect.poll(() => fake.stdout.text).toContain(text)
}

describe('watch', () => {
  test('prints the address, serves until Ctrl-C, and exits with 0', async () => {
    const fake = fakeIo()
    const code = main(
      ['watch', 'a', 'b', '--port', '7000', '--host', '0.0.0.0', '--token', 'longenough', '--data', 'c', '--data', 'd'],
      fake.io,
    )
    await shown(fake, address)
    expect(fake.calls).toEqual([
      {
        name: 'watch',
        args: [{ roots: ['a', 'b'], data: ['c', 'd'], port: 7000, host: '0.0.0.0', token: 'longenough' }],
      },
    ])
    fake.interrupt()
    expect(await code).toBe(0)
    expect(names(fake)).toEqual(['watch', 'close'])
  })

  test('watches runs by default, prints one line with --json, and opens the browser with --open', async () => {
    const fake = fakeIo()
    const code = main(['watch', '--json', '--open'], fake.io)
    await shown(fake, '\n')
    fake.interrupt()
    expect(await code).toBe(0)
    expect(fake.calls[0]).toEqual({ name: 'watch', args: [{ roots: ['runs'] }] })
    expect(fake.stdout.text).toBe(`${JSON.stringify({ kind: 'watch', version: 1, address })}\n`)
    expect(fake.calls[1]).toEqual({ name: 'openBrowser', args: [address] })
  })

  test.each([
    ['--port', '65536', 'a port up to 65535'],
    ['--port', 'http', 'a port up to 65535'],
  ])('refuses %s %s', async (option, value, expected) => {
    const fake = fakeIo()
    expect(await main(['watch', option, value], fake.io)).toBe(2)
    expect(fake.stderr.text).toContain(expected)
    expect(fake.calls).toEqual([])
  })

  test.each([
    [new UsageError('invalid --port: 7 is taken'), 2],
    [new RunError('the page is not built'), 1],
  ])('reports why the server does not start: %s', async (error, code) => {
    const fake = fakeIo({ operations: { watch: () => Promise.reject(error) } })
    expect(await main(['watch'], fake.io)).toBe(code)
    expect(fake.stderr.text).toBe(`choir: ${error.message}\n`)
  })
})

describe('watch --share', () => {
  test('writes a page, prints what is in it, and ends', async () => {
    const fake = fakeIo()
    const args = ['watch', 'runs/demo', '--share', '--out', 'a b.html', '--data', 'notes', '--open']
    expect(await main(args, fake.io)).toBe(0)
    const file = pathToFileURL('a b.html').href
    expect(fake.calls).toEqual([
      { name: 'share', args: ['runs/demo', { out: 'a b.html', data: ['notes'] }] },
      { name: 'openBrowser', args: [file] },
    ])
    expect(fake.stdout.text).toMatch(/^ {2}file +a b\.html, 195 kB, opens in any browser$/m)
    expect(fake.stdout.text).toMatch(/^ {2}snapshots +2 of 24, steps 10 to 240$/m)
    expect(fake.stdout.text).toMatch(/^ {2}text +2 tokens of held-out text, at steps 120$/m)
    expect(fake.stdout.text).toMatch(/^ {2}moments +1 of 3\n {4}step 84 +Expert 1 of layer 0 takes twice its share$/m)
    expect(fake.stderr.text).toContain('routing a text with checkpoint 1 of 1')
  })

  test('prints one line with --json', async () => {
    const fake = fakeIo()
    expect(await main(['watch', '--share', 'runs/demo', '--json'], fake.io)).toBe(0)
    expect(fake.calls).toEqual([{ name: 'share', args: ['runs/demo', {}] }])
    expect(JSON.parse(fake.stdout.text)).toMatchObject({
      ...{ kind: 'share', version: 1, file: 'demo.html', snapshots: 2, snapshots_recorded: 24 },
      ...{ moments: [{ kind: 'overload', step: 84, router: 0, experts: [1] }], moments_found: 3 },
      ...{ text_steps: [120], text_left_out: null },
    })
    expect(fake.stderr.text).toBe('')
  })

  test.each([
    [['--share'], '--share makes a page of one run; 0 were named'],
    [['a', 'b', '--share'], '--share makes a page of one run; 2 were named'],
    [['a', '--share', '--port', '7000'], '--port has no effect with --share'],
    [['a', '--share', '--host', 'x'], '--host has no effect with --share'],
    [['a', '--share', '--token', 'longenough'], '--token has no effect with --share'],
    [['a', '--out', 'a.html'], '--out has no effect without --share'],
  ])('refuses %j', async (args, message) => {
    const fake = fakeIo()
    expect(await main(['watch', ...args], fake.io)).toBe(2)
    expect(fake.stderr.text).toContain(message)
    expect(fake.calls).toEqual([])
  })

  test('ends with 130 at Ctrl-C', async () => {
    const share: Fake['io']['operations']['share'] = async (_, options) => {
      fake.interrupt()
      throw options?.signal?.reason
    }
    const fake = fakeIo({ operations: { share } })
    expect(await main(['watch', 'a', '--share'], fake.io)).toBe(130)
  })
})

describe('play', () => {
  test('prints the address, opens it, serves until Ctrl-C, and exits with 0', async () => {
    const fake = fakeIo()
    const code = main(['play', '--port', '7000', '--open'], fake.io)
    await shown(fake, address)
    fake.interrupt()
    expect(await code).toBe(0)
    expect(fake.calls).toEqual([
      { name: 'play', args: [{ port: 7000 }] },
      { name: 'openBrowser', args: [address] },
      { name: 'close', args: [] },
    ])
  })

  test('prints one line with --json, and refuses a wrong port and folders', async () => {
    const fake = fakeIo()
    const code = main(['play', '--json'], fake.io)
    await shown(fake, '\n')
    fake.interrupt()
    expect(await code).toBe(0)
    expect(fake.stdout.text).toBe(`${JSON.stringify({ kind: 'play', version: 1, address })}\n`)
    expect(await main(['play', '--port', '70000'], fakeIo().io)).toBe(2)
    expect(await main(['play', 'runs'], fakeIo().io)).toBe(2)
  })
})

describe('train --watch', () => {
  const train = (out: string, ...more: string[]) => ['train', 'tiny', '--watch', '--out', join(folder, out), ...more]

  test('starts the dashboard of its run, prints the address before the first step, and stops it after the training', async () => {
    const fake = fakeIo()
    expect(await main(train('lines'), fake.io)).toBe(0)
    expect(fake.calls[0]).toEqual({ name: 'startSelf', args: ['watch', join(folder, 'lines'), '--json'] })
    expect(names(fake)).toEqual(['startSelf', 'train', 'stop'])
    expect(fake.stdout.text.indexOf(address)).toBeGreaterThan(-1)
    expect(fake.stdout.text.indexOf(address)).toBeLessThan(fake.stdout.text.indexOf('1/20'))
  })

  test('lets the dashboard read the text of the run, which may lie in another folder', async () => {
    const fake = fakeIo()
    const [text, glob] = [join(folder, 'words.txt'), join(folder, 'more', '*.md')]
    const sets = ['--set', `data.source=${JSON.stringify([text, 'sotu', glob])}`]
    expect(await main(train('text', ...sets), fake.io)).toBe(0)
    const data = ['--data', text, '--data', join(folder, 'more')]
    expect(fake.calls[0]).toEqual({ name: 'startSelf', args: ['watch', join(folder, 'text'), '--json', ...data] })
  })

  test('with --json prints the address as the first line', async () => {
    const fake = fakeIo({ terminal: true })
    expect(await main(train('json', '--json'), fake.io)).toBe(0)
    expect(fake.stdout.text.split('\n')[0]).toBe(JSON.stringify({ kind: 'watch', version: 1, address }))
    expect(names(fake)).toEqual(['startSelf', 'train', 'stop'])
  })

  test('on a terminal keeps the dashboard open after the training until Ctrl-C', async () => {
    const fake = fakeIo({ terminal: true })
    const code = main(train('terminal', '--no-sample'), fake.io)
    await shown(fake, 'still open')
    expect(names(fake)).toEqual(['startSelf', 'train'])
    fake.interrupt()
    expect(await code).toBe(0)
    expect(names(fake).at(-1)).toBe('stop')
  })

  test('stops the training and the dashboard at Ctrl-C', async () => {
    const fake = fakeIo({ terminal: true, onStep: (step, { interrupt }) => step === 3 && interrupt() })
    expect(await main(train('interrupted'), fake.io)).toBe(130)
    expect(names(fake)).toEqual(['startSelf', 'train', 'stop'])
  })

  test('prints one line and trains without the dashboard if it cannot start', async () => {
    const fake = fakeIo({ terminal: true, startSelfError: 'no port is free' })
    expect(await main(train('alone', '--no-sample'), fake.io)).toBe(0)
    expect(names(fake)).toEqual(['startSelf', 'train'])
    expect(fake.stderr.text).toBe('choir: training without the dashboard: no port is free\n')
    expect(fake.stdout.text).not.toContain(address)
  })
})
