import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { NamedItem } from '../../../use/infer/scoring/scorable.ts'
import type { Input } from '../io.ts'
import { jsonText } from '../json.ts'
import { main } from '../program/main.ts'
import { undocumented } from '../testing/documented-events.ts'
import { type Fake, fakeIo } from '../testing/fake.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-score-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const text = { text: 'We the people' }
const continued = { context: 'We the', continuation: ' people' }
const choices = { context: 'We the', choices: [' people', ' senate', ' house'] }
const lines = (...items: unknown[]): string => items.map((item) => `${JSON.stringify(item)}\n`).join('')

async function scored(args: readonly string[], settings: Parameters<typeof fakeIo>[0] = {}, stdin?: Input) {
  const items: NamedItem[] = []
  const fake: Fake = fakeIo(settings)
  const { operations } = fake.io
  const score: typeof operations.score = (directory, given, options) => {
    const kept = async function* () {
      for await (const item of given) {
        items.push(item)
        yield item
      }
    }
    return operations.score(directory, kept(), options)
  }
  const io = { ...fake.io, ...(stdin && { stdin }), operations: { ...operations, score } }
  const code = await main(['score', 'runs/x', ...args], io)
  return { code, items, fake, stdout: fake.stdout.text, stderr: fake.stderr.text }
}

test('items come from --text, from files or from standard input, which is the default', async () => {
  const file = join(folder, 'two.jsonl')
  // A byte order mark, an empty line, and no line break at the end.
  writeFileSync(file, `\ufeff${lines(text)}\n${lines(choices).trimEnd()}`)
  expect((await scored(['--text', 'a', '--text', 'b'])).items.map(({ item }) => item)).toEqual(['a', 'b'])
  const fromFile = await scored(['--data', file])
  expect(fromFile.items).toEqual([
    { item: text, name: `line 1 of ${file}` },
    { item: choices, name: `line 3 of ${file}` },
  ])
  expect(fromFile.code).toBe(0)
  const stdin = lines(continued, text)
  for (const args of [[], ['--data', '-']])
    expect((await scored(args, { stdin })).items.map(({ item }) => item)).toEqual([continued, text])
  const both = await scored(['--data', '-', '--data', file], { stdin })
  expect(both.items.map(({ item }) => item)).toEqual([continued, text, text, choices])
})

test('a line is read whole if its bytes come in pieces, also in the middle of a character', async () => {
  const bytes = Buffer.from(lines({ text: 'é€😀' }, text))
  const stdin = async function* () {
    for (const byte of bytes) yield Buffer.of(byte)
  }
  const { code, items } = await scored([], {}, stdin())
  expect(code).toBe(0)
  expect(items.map(({ item }) => item)).toEqual([{ text: 'é€😀' }, text])
})

test('options are passed on', async () => {
  const args = [
    '--text',
    'a',
    '--stride',
    '3',
    '--no-begin',
    '--checkpoint',
    '400',
    '--weights',
    'int8',
    '--threads',
    '2',
  ]
  const { fake } = await scored(args)
  const expected = { stride: 3, begin: false, checkpoint: 400, weights: 'int8', threads: 2 }
  expect(fake.calls[0]).toMatchObject({ name: 'score', args: ['runs/x', expected] })
  expect((await scored(['--text', 'a'])).fake.calls[0]?.args[1]).toMatchObject({ begin: true })
})

test('a pipe or file gets a documented line of JSON for each item and nothing else; notices go to standard error', async () => {
  for (const args of [[], ['--json']]) {
    const { stdout, stderr } = await scored(args, { stdin: lines(text, continued, choices), terminal: args.length > 0 })
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(events).toHaveLength(3)
    expect(events[0]).toEqual({
      kind: 'score',
      version: 1,
      tokens: [
        { id: 7, text: 'a', log_probability: null },
        { id: 8, text: '\n', log_probability: -1.5 },
      ],
      total: -1.5,
      mean: -1.5,
      bits_per_byte: 1.0820212806667227,
    })
    expect(events[1]).toMatchObject({ kind: 'score', is_greedy: true })
    expect(events[2]).toMatchObject({ choices: [{ total: -1.5 }, {}, {}], best: { total: 0, mean: 0, per_byte: 1 } })
    for (const event of events) expect(undocumented('score', event)).toEqual([])
    expect(stderr).toContain('choir: no bf16 here\n')
  }
  // A mean over no tokens is not a number, which JSON lacks.
  expect(jsonText({ kind: 'score', mean: Number.NaN }, false)).toBe('{"kind":"score","mean":null}\n')
})

test('a terminal shows a table, the best choices by name, and totals of several texts', async () => {
  const { stdout } = await scored([], {
    stdin: lines(text, { text: 'b' }, continued, choices),
    terminal: true,
    env: { NO_COLOR: '1' },
  })
  expect(stdout.split('\n').map((line) => line.trimEnd())).toEqual([
    '       total      mean  bits per byte  tokens  text',
    '      −1.500    −1.500          1.082       2  We the people',
    '      −1.500    −1.500          1.082       2  b',
    '      −1.500    −1.500          1.082       2   people  greedy',
    '  We the',
    '      −1.500    −1.500          1.082       2   people  best by total, mean',
    '      −1.500    −1.500          1.082       2   senate  best by total per byte',
    '      −1.500    −1.500          1.082       2   house',
    '',
    '  texts          3 texts, 3 scored tokens',
    '  loss           1.5000 nats a token, perplexity 4.48',
    '  bits per byte  1.0820',
    '',
  ])
})

test('a long text is cut to the width of the terminal, and control characters are shown, not obeyed', async () => {
  const settings = { terminal: true, columns: 60, env: { NO_COLOR: '1' } }
  const { stdout } = await scored(['--text', `a\x1b[2J${'long '.repeat(40)}`], settings)
  const row = stdout.split('\n')[1] as string
  expect(row).toContain('a\\x1b[2J')
  expect([...row].length).toBeLessThanOrEqual(60)
})

test('--surprisal lists the tokens with −log₂ of their probability, a line each, also in a file', async () => {
  const { stdout } = await scored(['--surprisal', '--text', 'a\n'])
  expect(stdout).toBe(`       –  a\n    2.16  \\n\n\n`)
})

describe('wrong input is refused with exit code 2 and a message that names it', () => {
  const file = (name: string, content: string | Buffer): string => {
    const path = join(folder, name)
    writeFileSync(path, content)
    return path
  }
  test.each<[string, () => string[], RegExp]>([
    ['an empty text', () => ['--text', ''], /--text: invalid text: "" \(it is empty/],
    ['both sources', () => ['--text', 'a', '--data', 'b'], /--text and --data exclude each other/],
    ['two forms', () => ['--text', 'a', '--surprisal', '--json'], /--surprisal and --json exclude each other/],
    ['a stride', () => ['--text', 'a', '--stride', '0'], /invalid --stride: "0" \(expected a positive integer/],
    [
      'a path',
      () => ['--data', join(folder, 'nowhere')],
      /cannot read ".*nowhere": there is no such file; standard input is -/,
    ],
    ['a folder', () => ['--data', folder], /invalid --data: cannot read .*: it is a folder/],
    [
      'no lines',
      () => ['--data', file('empty', '\n\n')],
      /invalid --data: .*empty is empty \(expected lines of JSON\)/,
    ],
    ['bytes', () => ['--data', file('binary', Buffer.of(123, 0, 255))], /binary is not text in UTF-8/],
    ['latin1', () => ['--data', file('latin1', Buffer.of(0x22, 0xe9, 0x22))], /latin1 is not text in UTF-8/],
    ['an open end', () => ['--data', file('cut', Buffer.of(0x22, 0xc3))], /cut is not text in UTF-8/],
    [
      'plain text',
      () => ['--data', file('plain', `${lines(text)}We the`)],
      /invalid line 2 of .*plain: it is not JSON/,
    ],
    [
      'a number',
      () => ['--data', file('number', '7')],
      /invalid line 1 of .*number: 7 \(expected an object with text;/,
    ],
    ['a field', () => ['--data', file('field', '{"txt": "a"}')], /line 1 of .*field: unknown field txt: "a" .*"text"/],
  ])('%s', async (_, args, message) => {
    const { code, stderr } = await scored(args())
    expect(stderr).toMatch(message)
    expect(stderr).not.toContain('internal')
    expect(code).toBe(2)
  })

  test('standard input without lines', async () => {
    const { code, stderr } = await scored([])
    expect(stderr).toMatch(/invalid --data: standard input is empty/)
    expect(code).toBe(2)
  })
})

test('Ctrl-C ends the command with 130, also while it waits for standard input', async () => {
  const fake = fakeIo()
  const waiting = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) }
  const ended = main(['score', 'runs/x'], { ...fake.io, stdin: waiting })
  setTimeout(() => fake.interrupt(), 20)
  expect(await ended).toBe(130)
})
