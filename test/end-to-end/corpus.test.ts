/**
 * `choir corpus` as a user runs it: interrupted, killed, and its result trained on.
 *
 * @slow
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { allBut, extractedPackage, prose } from '../../src/tools/corpus/testing/packages.ts'
import { type ChoirProcess, expectSuccess, Workspace } from './support.ts'

let workspace: Workspace
const without = allBut('manuals', ['git-doc']).flatMap((name) => ['--without', name])

beforeAll(() => {
  workspace = new Workspace()
  const files = Array.from({ length: 4000 }, (_, i) => [`usr/share/doc/git-doc/${i}.txt`, prose(`document${i}`)])
  extractedPackage(workspace.file('packages'), 'git-doc', Object.fromEntries(files))
})
afterAll(() => workspace.remove())

const build = (out: string): ChoirProcess =>
  workspace.start('corpus', 'manuals', '--root', workspace.file('packages'), '--out', out, ...without)

/** Names of the unfinished folders beside the corpus that is built. */
const beside = (): string[] => readdirSync(workspace.path).filter((name) => name.startsWith('.building-'))

const reading = () => expect.poll(() => beside().length > 0, { timeout: 20_000, interval: 5 }).toBe(true)

test.skipIf(process.platform === 'win32')('Ctrl-C leaves nothing and ends with 130', async () => {
  const running = build('interrupted')
  await reading()
  running.kill('SIGINT')
  expect((await running.ended).code).toBe(130)
  expect(existsSync(workspace.file('interrupted'))).toBe(false)
  expect(beside()).toEqual([])
})

test('a build that was killed leaves no corpus; the next build removes its leftovers and writes the same bytes', async () => {
  const killed = build('corpus')
  await reading()
  killed.kill('SIGKILL')
  await killed.ended
  expect(existsSync(workspace.file('corpus'))).toBe(false)
  expect(beside()).toHaveLength(1)
  await expectSuccess(build('corpus'))
  expect(beside()).toEqual([])
  await expectSuccess(build('other'))
  expect(readFileSync(workspace.file('other', '.corpus.json'))).toEqual(
    readFileSync(workspace.file('corpus', '.corpus.json')),
  )
  const lines = readFileSync(workspace.file('corpus', 'git.jsonl'), 'utf8').trimEnd().split('\n')
  expect(lines).toHaveLength(4000)
})

test('a training on the folder reads its documents and nothing else', async () => {
  await expectSuccess(build('text'))
  const config = workspace.config({ data: { source: workspace.file('text') }, train: { steps: 3 } })
  const running = workspace.start('train', config, '--out', workspace.file('run'), '--json')
  const start = await running.line(({ kind }) => kind === 'start')
  await expectSuccess(running)
  const { bytes, documents } = JSON.parse(readFileSync(workspace.file('text', '.corpus.json'), 'utf8'))
  // There is a token for each byte, one at the end of each document, and one at the beginning of both streams.
  expect(Number(start.train_tokens) + Number(start.held_out_tokens)).toBe(bytes + documents + 2)
})
