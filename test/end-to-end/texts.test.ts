/**
 * A training on a folder as it is, with files of many kinds, and a text from a prompt on standard input.
 *
 * @slow
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectSuccess, type Line, prose, Workspace } from './support.ts'

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
  for (const folder of ['texts/.git', 'texts/src', 'old']) mkdirSync(workspace.file(folder), { recursive: true })
  const files: Record<string, string | Uint8Array> = {
    'texts/LICENSE': prose(1, 10_000),
    'texts/src/index.ts': prose(2, 10_000),
    'texts/package.json': '{"name":"x"}',
    'texts/.git/config': Uint8Array.of(0xff),
    'texts/logo.png': Uint8Array.of(0x89, 0x50, 0, 0),
    'texts/brief.txt': Buffer.from('d\xe9j\xe0 vu', 'latin1'),
    'old/brief.txt': Buffer.from(`d\xe9j\xe0 vu\n\n${prose(3, 10_000)}`, 'latin1'),
  }
  for (const [name, content] of Object.entries(files)) writeFileSync(workspace.file(name), content)
})
afterAll(() => workspace.remove())

const linesOf = (stdout: string): Line[] =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

test('a folder with a Latin-1 file and a picture is trained on, and its run is evaluated and used', async () => {
  const config = workspace.config({ train: { steps: 4, checkpointEvery: 2, schedule: { warmup: 1 } } })
  const run = workspace.file('run')
  const trained = await expectSuccess(
    workspace.start('train', config, '--data', 'texts', '--out', run, '--json', '--no-sample'),
  )
  const notices = linesOf(trained.stdout).filter(({ kind }) => kind === 'notice')
  expect(notices.map(({ message }) => message)).toEqual([
    expect.stringMatching(
      /3 files are read, 2 skipped: 1 not UTF-8 \(brief\.txt: .*\), 1 binary \(logo\.png\)\. .*latin1/,
    ),
    expect.stringContaining('package.json: fields: name'),
  ])

  const strict = await workspace.choir('train', config, '--data', 'old/brief.txt', '--out', workspace.file('other'))
  expect(strict.code).toBe(2)
  expect(strict.stderr).toMatch(
    /^choir: data\.source: brief\.txt is not text: byte 0xe9 is not UTF-8 at offset 1; .*\n$/,
  )
  const encoded = ['--set', 'data.encoding=latin1', '--out', workspace.file('encoded'), '--no-sample']
  await expectSuccess(workspace.start('train', config, '--data', 'old/brief.txt', ...encoded))

  const ask = ['generate', run, '--prompt', '-', '--tokens', '30', '--json']
  const { stdout } = await expectSuccess(workspace.startWith('the people\n', ...ask))
  const lines = linesOf(stdout)
  const whole = lines.at(-1)
  expect(whole).toMatchObject({ kind: 'summary', prompt: 'the people', tokens: 30, reason: 'length', step: 4 })
  const pieces = lines.filter(({ kind }) => kind === 'piece').map(({ text }) => text)
  expect(pieces.join('')).toBe(whole?.text)

  const text = whole?.text as string
  const stop = text.slice(7, 10)
  const stopped = await expectSuccess(
    workspace.startWith('the people\n', ...ask.filter((word) => word !== '--json'), '--stop', stop),
  )
  expect(stopped.stdout).toBe(`the people${text.slice(0, text.indexOf(stop))}\n`)

  const before = await expectSuccess(workspace.startWith('the people', ...ask, '--checkpoint', '2'))
  expect(linesOf(before.stdout).at(-1)).toMatchObject({ step: 2 })
  const evaluated = await expectSuccess(workspace.start('eval', run, '--checkpoint', '2', '--json'))
  expect(linesOf(evaluated.stdout).at(-1)).toMatchObject({ kind: 'eval', step: 2 })
  const missing = await workspace.choir('eval', run, '--checkpoint', '3')
  expect(missing.code).toBe(2)
  expect(missing.stderr).toMatch(/^choir: invalid checkpoint: 3 \(.*run has those of steps 2, 4\)\n$/)

  const binary = await workspace.startWith(Uint8Array.of(0xff, 0xfe, 0), ...ask).ended
  expect([binary.code, binary.stdout]).toEqual([2, ''])
  expect(binary.stderr).toMatch(/^choir: invalid --prompt: standard input has a NUL byte at offset 2/)
}, 120_000)
