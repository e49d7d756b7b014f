/** @slow */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import { expectSuccess, Workspace } from './support.ts'

let workspace: Workspace
let run: string
beforeAll(async () => {
  workspace = new Workspace()
  run = workspace.file('run')
  await expectSuccess(workspace.start('train', workspace.config({ train: { steps: 2 } }), '--out', run))
  writeFileSync(workspace.file('empty.txt'), '')
  writeFileSync(workspace.file('short.txt'), 'Too short.')
  writeFileSync(
    workspace.file('binary.txt'),
    Uint8Array.from({ length: 4096 }, (_, i) => (i * 37) % 256),
  )
  writeFileSync(workspace.file('damaged.yaml'), 'model:\n  layers: [2\n')
  mkdirSync(workspace.file('occupied'))
  writeFileSync(workspace.file('occupied', 'thesis.tex'), 'ten years of work')
  mkdirSync(workspace.file('folder of nothing'))
})
afterAll(() => workspace.remove())

/** Expects one message on stderr, without stack or internals, and nothing on stdout. */
function expectMessage(
  { code, stdout, stderr }: { code: number | null; stdout: string; stderr: string },
  exit: number,
) {
  expect({ code, stderr }).toMatchObject({ code: exit, stderr: expect.stringMatching(/^choir: /) })
  expect(stderr).not.toMatch(/ {4}at |internal:|undefined|\[object/)
  expect(stdout).toBe('')
}

const withData = (source: string): RunInput => ({ data: { source: workspace.file(source) } })

test.each<[string, string, RegExp]>([
  ['a missing file', 'nowhere.txt', /nowhere\.txt/],
  ['an empty file', 'empty.txt', /empty\.txt is empty/],
  ['a file too short to split', 'short.txt', /too (short|little text)/],
  ['a binary file', 'binary.txt', /binary\.txt.*(binary|UTF-8|text)/],
  ['a folder without text', 'folder of nothing', /folder of nothing/],
])('%s as data is refused with its name, and leaves no run directory', async (_, source, message) => {
  const out = workspace.file(`from ${source}`)
  const ended = await workspace.choir('train', workspace.config(withData(source)), '--out', out, '--json')
  expectMessage({ ...ended, stdout: ended.stdout.replace(/\{"kind":"prepare".*\n/g, '') }, 2)
  expect(ended.stderr).toMatch(message)
  expect(existsSync(out)).toBe(false)
})

test.each<[string, string[], RegExp]>([
  ['an unknown preset', ['train', 'tinny'], /unknown preset "tinny" .*did you mean "tiny"/],
  ['a missing configuration file', ['train', 'config-1.jsn.yaml'], /no such file: "config-1\.jsn\.yaml"/],
  ['a damaged configuration file', ['train', 'damaged.yaml'], /damaged\.yaml: line \d+, column \d+/],
  [
    'an unknown field',
    ['train', 'tiny', '--set', 'train.stesp=3'],
    /train\.stesp: 3 .*did you mean "steps"|did you mean "train\.steps"/,
  ],
  ['an impossible value', ['train', 'tiny', '--set', 'model.moe.k=9'], /model\.moe\.k: 9 .*at most experts 4/],
  ['no run to resume', ['train', '--resume', 'nowhere'], /no run in "nowhere"/],
  [
    'another seed at resumption',
    ['train', '--resume', 'run', '--set', 'train.seed=3'],
    /train\.seed: 0 in the run, 3 given/,
  ],
  ['a run directory that is a file', ['train', 'tiny', '--out', 'empty.txt'], /"empty\.txt" is a file/],
  ['a run directory of something else', ['train', 'tiny', '--out', 'occupied'], /occupied" holds thesis\.tex/],
  ['a run directory of another run', ['train', 'tiny', '--out', 'run'], /already holds a run .*--resume run/],
  ['an evaluation of no run', ['eval', 'occupied'], /no run in "occupied"/],
  ['a generation without a run', ['generate', 'nowhere', '--prompt', 'x'], /no run in "nowhere"/],
  ['an evaluation on nothing', ['eval', 'run', '--data', 'nowhere.txt'], /nowhere\.txt/],
])('%s is refused with exit code 2 and one message', async (_, args, message) => {
  const before = readFileSync(join(run, 'config.json'), 'utf8')
  const ended = await workspace.choir(...args)
  expectMessage(ended, 2)
  expect(ended.stderr).toMatch(message)
  expect(readFileSync(join(run, 'config.json'), 'utf8')).toBe(before)
  expect(readdirSync(workspace.file('occupied'))).toEqual(['thesis.tex'])
  expect(readFileSync(workspace.file('empty.txt'), 'utf8')).toBe('')
})

test.skipIf(process.platform === 'win32')('a run directory below a file is refused with exit code 2', async () => {
  const ended = await workspace.choir('train', 'tiny', '--out', 'empty.txt/run')
  expectMessage(ended, 2)
  expect(ended.stderr).toMatch(/empty\.txt/)
})

// Permissions do not apply to root.
test.skipIf(process.platform === 'win32' || process.getuid?.() === 0)(
  'a run directory in a read-only folder is a failure with exit code 1',
  async () => {
    const closed = workspace.file('closed')
    mkdirSync(closed)
    chmodSync(closed, 0o555)
    const ended = await workspace.choir('train', workspace.config(), '--out', join(closed, 'run'))
    expectMessage(ended, 1)
    expect(ended.stderr).toMatch(/cannot create run directory .*closed/)
    chmodSync(closed, 0o755)
  },
)

test.skipIf(process.platform !== 'linux')(
  'a run directory that cannot be created is a failure with exit code 1',
  async () => {
    const ended = await workspace.choir('train', workspace.config(), '--out', '/sys/choir/run')
    expectMessage(ended, 1)
    expect(ended.stderr).toMatch(/cannot create run directory \/sys\/choir\/run/)
  },
)

test('a run with a damaged configuration is reported and not overwritten', async () => {
  const broken = workspace.file('broken')
  mkdirSync(broken)
  writeFileSync(join(broken, 'config.json'), '{"model": {')
  const ended = await workspace.choir('train', '--resume', broken)
  expectMessage(ended, 1)
  expect(ended.stderr).toMatch(/cannot read .*config\.json/)
  expect(readFileSync(join(broken, 'config.json'), 'utf8')).toBe('{"model": {')
})

test('a token cache that cannot be written gives a warning, and the run continues', async () => {
  const data = { cache: workspace.file('empty.txt', 'cache') }
  const out = workspace.file('uncached')
  const ended = await expectSuccess(
    workspace.start('train', workspace.config({ data, train: { steps: 1 } }), '--out', out),
  )
  expect(ended.stdout + ended.stderr).toMatch(/cannot write the token cache/)
})
