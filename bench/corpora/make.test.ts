/**
 * The command as a user runs it, on packages made up for the test: refused, interrupted, killed, and its result trained
 * on.
 *
 * @slow
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectSuccess, Workspace } from '../../test/end-to-end/support.ts'
import { allBut, extractedPackage, prose } from './testing/packages.ts'

let workspace: Workspace
const without = allBut('manuals', ['git-doc']).flatMap((name) => ['--without', name])

beforeAll(() => {
  workspace = new Workspace()
  const files = Array.from({ length: 4000 }, (_, i) => [`usr/share/doc/git-doc/${i}.txt`, prose(`document${i}`)])
  extractedPackage(workspace.file('packages'), 'git-doc', Object.fromEntries(files))
})
afterAll(() => workspace.remove())

interface Build {
  readonly child: ChildProcess
  readonly ended: Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>
}

function start(...args: string[]): Build {
  const script = fileURLToPath(new URL('make.ts', import.meta.url))
  const root = fileURLToPath(new URL('../..', import.meta.url))
  // Node warns on standard error if it is told both.
  const { FORCE_COLOR, ...environment } = process.env
  const env = { ...environment, NO_COLOR: '1' }
  const child = spawn(process.execPath, ['--import', 'tsx', script, ...args], { cwd: root, env })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  return { child, ended: once(child, 'close').then(([code]) => ({ code, stdout, stderr })) }
}

const build = (out: string): Build =>
  start('manuals', '--root', workspace.file('packages'), '--out', workspace.file(out), ...without)

/** Names of the unfinished folders beside the corpus that is built. */
const beside = (): string[] => readdirSync(workspace.path).filter((name) => name.startsWith('.building-'))

const reading = () => expect.poll(() => beside().length > 0, { timeout: 20_000, interval: 5 }).toBe(true)

test('lists the recipes with their packages and licences, and the packages that are installed', async () => {
  const { code, stdout } = await start('--root', workspace.file('packages')).ended
  expect(code).toBe(0)
  expect(stdout).toMatch(/manuals: .* \(1 of \d+ packages installed\)/)
  expect(stdout).toMatch(/git-doc +yes +GPL-2 +git\n/)
  expect(stdout).toMatch(/perl-doc +no +GPL-1\+ or Artistic +perl\n/)
})

test('wrong usage ends with exit code 2 and writes nothing; missing packages end with 1', async () => {
  const out = workspace.file('refused')
  const root = ['--root', workspace.file('packages')]
  const file = workspace.file('a-file')
  writeFileSync(file, '')
  const cases: [string[], number, RegExp][] = [
    [['manuals', ...root], 2, /missing --out/],
    [['--out', out], 2, /missing recipe/],
    [['manuals', ...root, '--out', out, '--without', 'nothing'], 2, /invalid --without: "nothing"/],
    [['manuals', ...root, '--out', out, '--download'], 2, /--download.*cannot be used with.*--root/],
    [['manuals', ...root, '--out', out], 1, /packages are missing .*apt-get download linux-source-6\.12/],
    [['manuals', '--root', file, '--out', out], 2, /invalid --root: ".*a-file" is a file \(expected a folder\)/],
  ]
  await Promise.all(
    cases.map(async ([args, code, message]) => {
      const result = await start(...args).ended
      expect(result.stderr).toMatch(message)
      expect(result.code).toBe(code)
    }),
  )
  expect(existsSync(out)).toBe(false)
})

test.skipIf(process.platform === 'win32')('Ctrl-C leaves nothing and ends with 130', async () => {
  const running = build('interrupted')
  await reading()
  running.child.kill('SIGINT')
  expect((await running.ended).code).toBe(130)
  expect(existsSync(workspace.file('interrupted'))).toBe(false)
  expect(beside()).toEqual([])
})

test('a build that was killed leaves no corpus; the next build removes its leftovers and writes the same bytes', async () => {
  const killed = build('corpus')
  await reading()
  killed.child.kill('SIGKILL')
  await killed.ended
  expect(existsSync(workspace.file('corpus'))).toBe(false)
  expect(beside()).toHaveLength(1)
  const { stdout, stderr } = await build('corpus').ended
  const { sha256 } = JSON.parse(readFileSync(workspace.file('corpus', '.corpus.json'), 'utf8'))
  expect(stdout).toContain(sha256)
  expect(stdout).toMatch(/corpus +manuals, 4,000 documents, .*B of text/)
  expect(stdout).toMatch(/git\.jsonl +4,000 +.*B\n/)
  expect(stderr).toMatch(/^reading git-doc: file 0 of 4,000; /)
  expect(beside()).toEqual([])
  expect((await build('corpus').ended).stdout).toMatch(/has this corpus already, unchanged/)
  await build('other').ended
  expect(readFileSync(workspace.file('other', '.corpus.json'))).toEqual(
    readFileSync(workspace.file('corpus', '.corpus.json')),
  )
  const lines = readFileSync(workspace.file('corpus', 'git.jsonl'), 'utf8').trimEnd().split('\n')
  expect(lines).toHaveLength(4000)
})

test('a training on the folder reads its documents and nothing else', async () => {
  expect((await build('text').ended).code).toBe(0)
  const config = workspace.config({ data: { source: workspace.file('text') }, train: { steps: 3 } })
  const running = workspace.start('train', config, '--out', workspace.file('run'), '--json')
  const start = await running.line(({ kind }) => kind === 'start')
  await expectSuccess(running)
  const { bytes, documents } = JSON.parse(readFileSync(join(workspace.file('text'), '.corpus.json'), 'utf8'))
  // There is a token for each byte, one at the end of each document, and one at the beginning of both streams.
  expect(Number(start.train_tokens) + Number(start.held_out_tokens)).toBe(bytes + documents + 2)
})
