import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { main } from './program/main.ts'
import { fakeIo } from './testing/fake.ts'

let folder: string
let config: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-outputs-'))
  config = join(folder, 'mine.yaml')
  writeFileSync(config, 'preset: tiny\n')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function choir(...args: string[]) {
  const fake = fakeIo({ terminal: false })
  const code = await main(args, fake.io)
  return { code, out: fake.stdout.text, err: fake.stderr.text, calls: fake.calls.map(({ name }) => name) }
}

const text = (file: string) => readFileSync(file, 'utf8')

const place = ['--nodes', '1', '--ranks-per-node', '1', '--threads', '8']
const writers: [words: (config: string) => string[], option: string, what: string][] = [
  [(given) => ['plan', given, '--cluster', 'a100-1'], 'html', 'a report of choir plan'],
  [(given) => ['plan', given, '--cluster', 'a100-1'], 'trace', 'a timeline'],
  [(given) => ['train', given, '--out', join(folder, 'run')], 'trace', 'a timeline'],
  [() => ['bench', '--only', 'top-1', '--json'], 'trace', 'a timeline'],
  [() => ['bench', '--only', 'top-1', '--json'], 'out', 'a file of results of choir bench'],
  [(given) => ['launch', 'train', given, '--slurm', ...place], 'write', 'a script of choir launch'],
]

test.each(writers)(
  '%#: an output is refused in the place of its input, and replaces itself',
  async (words, name, what) => {
    const refused = await choir(...words(config), `--${name}`, config)
    expect([refused.code, refused.err]).toEqual([
      2,
      `choir: invalid --${name}: "${config}" exists and is not ${what} (expected a new file, or an earlier one to replace; delete it, or name another)\n`,
    ])
    expect(text(config)).toBe('preset: tiny\n')
    const output = join(folder, `${name}-${what.replaceAll(' ', '-')}`)
    for (const _ of ['new', 'again']) {
      rmSync(join(folder, 'run'), { recursive: true, force: true })
      expect(await choir(...words(config), `--${name}`, output)).toMatchObject({ code: 0 })
    }
  },
)

test('an output of another kind is refused, and so is a report of another command', async () => {
  const [report, trace] = [join(folder, 'kinds.html'), join(folder, 'kinds.json')]
  const plan = ['plan', config, '--cluster', 'a100-1']
  expect(await choir(...plan, '--html', report, '--trace', trace)).toMatchObject({ code: 0 })
  const before = [text(report), text(trace)]
  expect(await choir(...plan, '--html', trace)).toMatchObject({ code: 2 })
  expect(await choir(...plan, '--trace', report)).toMatchObject({ code: 2 })
  expect(await choir('bench', '--only', 'top-1', '--out', trace)).toMatchObject({ code: 2, out: '', calls: [] })
  expect([text(report), text(trace)]).toEqual(before)
  const study = text(report).replace('<span>plan</span>', '<span>study</span>')
  writeFileSync(report, study)
  expect(await choir(...plan, '--html', report)).toMatchObject({ code: 2 })
  expect(text(report)).toBe(study)
})

test('one file is not named for two outputs', async () => {
  const file = join(folder, 'both')
  const { code, err } = await choir(
    'plan',
    config,
    '--cluster',
    'a100-1',
    '--html',
    file,
    '--trace',
    join(folder, '.', 'both'),
  )
  expect([code, err]).toEqual([
    2,
    `choir: invalid --trace: "${file}" is also the file of --html (expected another file)\n`,
  ])
  expect(await choir('bench', '--only', 'top-1', '--out', file, '--trace', file)).toMatchObject({ code: 2, calls: [] })
})

test('an empty file is written, and so is a device, by two options too', async () => {
  const file = join(folder, 'empty')
  writeFileSync(file, '')
  const plan = ['plan', config, '--cluster', 'a100-1']
  expect(await choir(...plan, '--trace', file)).toMatchObject({ code: 0 })
  expect(text(file)).toContain('traceEvents')
  expect(await choir(...plan, '--html', '/dev/null', '--trace', '/dev/null')).toMatchObject({ code: 0 })
})

test('rows of a benchmark that are not measured again are kept', async () => {
  const file = join(folder, 'rows.json')
  const only = (...names: string[]) => ['bench', ...names.flatMap((name) => ['--only', name])]
  const routings = () => JSON.parse(text(file)).rows.map(({ routing }: { routing: string }) => routing)
  expect(await choir(...only('dropless', 'top-1'), '--out', file)).toMatchObject({ code: 0 })
  const { code, err, calls } = await choir(...only('top-1'), '--out', file)
  expect({ code, err, calls }).toEqual({
    code: 2,
    err: `choir: invalid --out: "${file}" has rows that are not measured again: dropless (expected a new file; delete it, or name another)\n`,
    calls: [],
  })
  expect(await choir(...only('top-1', 'dropless'), '--shape', 'tiny', '--out', file)).toMatchObject({ code: 2 })
  expect(routings()).toEqual(['dropless', 'top-1'])
  expect(await choir(...only('top-1', 'dropless'), '--out', file)).toMatchObject({ code: 0 })
  expect(routings()).toEqual(['top-1', 'dropless'])
  writeFileSync(file, text(file).slice(0, -5))
  expect(await choir(...only('top-1'), '--out', file)).toMatchObject({
    code: 2,
    err: expect.stringContaining(`invalid --out: cannot read the results in "${file}": `),
  })
})

test('the default file of bench stays as it is if it has other rows, which is said', async () => {
  const before = process.cwd()
  process.chdir(folder)
  try {
    const file = join('bench', 'results', 'S.json')
    expect(await choir('bench', '--only', 'dropless', '--only', 'top-1')).toMatchObject({ code: 0 })
    const first = text(file)
    const { code, out } = await choir('bench', '--only', 'top-1')
    expect(code).toBe(0)
    expect(out).toContain(
      `\n  ${file} stays as it is, since it has rows that were not measured again: dropless (--out writes another file)\n`,
    )
    expect(text(file)).toBe(first)
  } finally {
    process.chdir(before)
  }
})
