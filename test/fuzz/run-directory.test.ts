/** @slow */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, relative } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readRunConfig } from '../../src/faces/watch/runs/run-config.ts'
import { loadConfig } from '../../src/node/run/load-config.ts'
import { train } from '../../src/node/train/train.ts'
import { generate } from '../../src/use/runs/generate.ts'
import { fuzzTimeout, runs } from '../support/soak.ts'
import { faultOf, outcomeOf } from './outcome.ts'
import { readRun } from './run-files.ts'
import { changed, damaged } from './values.ts'

let folder: string
let intact: string
let names: string[]
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'choir-fuzz-'))
  intact = join(folder, 'intact')
  writeFileSync(join(folder, 'text.txt'), 'A text of some words, again and again.\n\n'.repeat(400))
  const sets = ['model.vocabulary=257', 'data.tokenizer.kind=bytes', 'train.steps=2', 'runtime.threads=1']
  const data = [`data.source=${join(folder, 'text.txt')}`, `data.cache=${join(folder, 'cache')}`]
  await train(await loadConfig('tiny', [...sets, ...data]), { directory: intact })
  names = readdirSync(intact, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(intact, join(entry.parentPath, entry.name)))
}, fuzzTimeout)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs `check` on a copy of the run with another file. */
async function withFile(name: string, contents: Buffer, check: (run: string) => Promise<void>): Promise<void> {
  const run = join(folder, 'damaged')
  rmSync(run, { recursive: true, force: true })
  cpSync(intact, run, { recursive: true })
  writeFileSync(join(run, name), contents)
  await check(run)
}

/** Gives a file of a checkpoint the right checksum. */
function signed(run: string, name: string): void {
  const sums = join(run, dirname(name), 'SHA256SUMS')
  const sum = createHash('sha256')
    .update(readFileSync(join(run, name)))
    .digest('hex')
  writeFileSync(sums, readFileSync(sums, 'utf8').replace(new RegExp(`^\\w+(?=  ${basename(name)}$)`, 'm'), sum))
}

const judge = async (run: string) => expect(faultOf(await outcomeOf(() => readRun(run)))).toBeNull()

test(
  'a run with any damage to any of its files is refused with a message, or read',
  async () => {
    const cases = fc
      .constantFrom(...names)
      .chain((name) => damaged(readFileSync(join(intact, name))).map((contents) => [name, contents] as const))
    await fc.assert(
      fc.asyncProperty(cases, ([name, contents]) => withFile(name, contents, judge)),
      runs(60),
    )
  },
  fuzzTimeout,
)

test(
  'JSON of another shape in a run, with right checksums, is refused with a message, or read',
  async () => {
    const json = names.filter((name) => name.endsWith('.json'))
    const cases = fc
      .constantFrom(...json)
      .chain((name) =>
        changed(JSON.parse(readFileSync(join(intact, name), 'utf8'))).map((value) => [name, value] as const),
      )
    await fc.assert(
      fc.asyncProperty(cases, ([name, value]) =>
        withFile(name, Buffer.from(JSON.stringify(value)), async (run) => {
          if (name.startsWith('checkpoints')) signed(run, name)
          await judge(run)
          // The dashboard shows what it can of any run.
          if (name === 'config.json') {
            const { problem = '' } = readRunConfig(readFileSync(join(run, name), 'utf8'))
            expect(faultOf({ code: 0, stderr: problem })).toBeNull()
          }
        }),
      ),
      runs(60),
    )
  },
  fuzzTimeout,
)

test.skipIf(process.platform === 'win32')('a run is refused if any of its files is a pipe or a device', async () => {
  for (const name of names)
    for (const make of [
      (path: string) => execFileSync('mkfifo', [path]),
      (path: string) => symlinkSync('/dev/zero', path),
    ])
      await withFile(name, Buffer.of(), async (run) => {
        rmSync(join(run, name))
        make(join(run, name))
        const { code, stderr } = await outcomeOf(() => readRun(run))
        expect([code, stderr]).toEqual([1, expect.stringMatching(/: it is a (named pipe|pipe|device) /)])
        expect(stderr).toContain(join(run, name))
      })
})

test.each([
  ['15,000 equal letters', 'a'.repeat(15_000)],
  ['two words 3,000 times', 'hello world '.repeat(3000)],
  ['spaces', ' '.repeat(15_000)],
  ['line breaks', '\n'.repeat(15_000)],
  ['signs of four bytes', '😀'.repeat(5000)],
  ['a lone surrogate', '\ud800'],
])(
  'a prompt of %s is continued',
  async (_, prompt) => {
    const pieces = generate(intact, { prompt, tokens: 2, temperature: 0, topK: 0, topP: 1, seed: 0 })
    for (;;) {
      const { done, value } = await pieces.next()
      if (!done) continue
      expect(value).toMatchObject({ step: 2 })
      return
    }
  },
  60_000,
)
