import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import type { Fields } from '../../src/core/config/fields.ts'
import { operations } from '../../src/faces/cli/operations.ts'
import { main } from '../../src/faces/cli/program/main.ts'
import { fakeIo } from '../../src/faces/cli/testing/fake.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { samples } from '../../src/use/foreign/testing/samples.ts'
import { type WriteOptions, writeFolder } from './folders.ts'
import { qwen3Files, qwen3Keys } from './tokenizers.ts'

const temporary = temporaryFolder()

/** Runs a command with the operations of the program. */
async function choir(...args: string[]) {
  const fake = fakeIo({ operations })
  const code = await main(args, fake.io)
  return { code, stdout: fake.stdout.text, stderr: fake.stderr.text }
}

function model(name: keyof typeof samples, keys: Fields = {}, files: NonNullable<WriteOptions['files']> = {}) {
  const root = temporary.make()
  writeFolder(join(root, 'model'), samples[name] as Fields, { type: 'BF16', keys, files })
  return { root, folder: join(root, 'model'), run: join(root, 'run') }
}

test('an imported model is inspected, evaluated and generates', async () => {
  const { root, folder, run } = model('mixtral', { use_sinks: true })
  const imported = await choir('import', folder, '--out', run)
  expect(imported.code).toBe(0)
  expect(imported.stdout).toMatch(/read +\d+ tensors, all mapped: [\d.]+ kB of BF16\n/)
  expect(imported.stdout).toMatch(/experts\.\*\.w1\.weight +BF16 +24 × 16 +12 +layers\.\*\.moe\.experts\.\*\.gate\n/)
  expect(imported.stderr).toBe(
    'choir: config.json has use_sinks, which Choir does not know: check that it does not change the model\n',
  )
  expect((await choir('inspect', run)).stdout).toMatch(/top-2, .*dropless/)
  writeFileSync(join(root, 'text.txt'), 'It is not down in any map; true places never are.')
  const evaluated = await choir('eval', run, '--data', join(root, 'text.txt'), '--json')
  expect(evaluated).toMatchObject({ code: 0, stderr: '' })
  expect(JSON.parse(evaluated.stdout).loss).toBeGreaterThan(4)
  const generated = await choir('generate', run, '--prompt', 'Call me', '--tokens', '4', '--json')
  expect(generated.code).toBe(0)
  expect(JSON.parse(generated.stdout.trim().split('\n').at(-1) as string)).toMatchObject({ step: 0, prompt: 'Call me' })
})

test('the import prints the tokens of texts, and a chat model answers a message', async () => {
  const keys = { ...qwen3Keys, max_position_embeddings: 64 }
  const { root, folder, run } = model('qwen3_moe', keys, qwen3Files)
  expect((await choir('import', folder, '--out', run)).stdout).toContain(
    '\n  texts    begin token none · end tokens <|im_end|> 258, <|endoftext|> 256 · chat template\n',
  )
  const report = JSON.parse((await choir('import', folder, '--out', join(root, 'again'), '--json')).stdout)
  expect(report).toMatchObject({
    begin: null,
    end: [{ id: 258, token: '<|im_end|>' }, { id: 256 }],
    chat_template: true,
  })
  const chat = ['--system', 'Be brief.', '--message', 'Hi', '--tokens', '4']
  const { code, stdout, stderr } = await choir('generate', run, ...chat, '--json')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const summary = JSON.parse(stdout.trim().split('\n').at(-1) as string)
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Hi' },
  ]
  expect(summary).toMatchObject({ kind: 'summary', messages, reason: expect.any(String) })
  expect((await choir('generate', run, ...chat)).stdout).toBe(`${summary.text}\n`)
  const plain = model('olmoe')
  await choir('import', plain.folder, '--out', plain.run)
  const refused = await choir('generate', plain.run, '--message', 'Hi')
  expect(refused).toMatchObject({ code: 2, stdout: '' })
  expect(refused.stderr).toMatch(
    /^choir: the model in .* has no chat template, .* \(give it a text to continue: --prompt\)/,
  )
})

test('--json prints the report; exit codes are 2 for a model that is not supported and 1 for a damaged one', async () => {
  const { folder, run } = model('llama')
  const { code, stdout, stderr } = await choir('import', folder, '--out', run, '--upcycle', 'experts=4, k=2', '--json')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(JSON.parse(stdout)).toMatchObject({ kind: 'import', architecture: 'llama', made: [{}, {}, {}] })
  expect(await choir('import', folder, '--out', run)).toMatchObject({ code: 2, stdout: '' })
  const other = model('olmoe', { clip_qkv: 6 })
  expect(await choir('import', other.folder, '--out', other.run)).toMatchObject({ code: 2, stdout: '' })
  const wide = model('olmoe', { intermediate_size: 16 })
  const failed = await choir('import', wide.folder, '--out', wide.run)
  expect(failed).toMatchObject({ code: 1, stdout: '' })
  expect(failed.stderr).toMatch(/^choir: the tensors in .*\n {2}it holds in another shape .* and \d+ more tensors\n$/)
})

test('Ctrl-C ends an import with code 130, and nothing is left', async () => {
  const { root, folder, run } = model('llama')
  const fake = fakeIo({
    terminal: true,
    operations: {
      importModel: (from, out, options) =>
        operations.importModel(from, out, {
          ...options,
          onProgress: (done, total) => {
            options?.onProgress?.(done, total)
            fake.interrupt()
          },
        }),
    },
  })
  expect(await main(['import', folder, '--out', run], fake.io)).toBe(130)
  expect(fake.stdout.text).toBe('')
  expect(stripVTControlCharacters(fake.stderr.text)).toMatch(/^\r {2}[\d.]+ % of 57.3 kB written.*\r$/)
  expect(readdirSync(root)).toEqual(['model'])
})

test('a folder that was not imported writes text and has scores, and is not taken for a run', async () => {
  const { folder } = model('mixtral')
  const { code, stdout } = await choir('generate', folder, '--prompt', 'x', '--tokens', '4')
  expect({ code, length: stdout.length > 1 }).toEqual({ code: 0, length: true })
  const scored = await choir('score', folder, '--text', 'ab')
  expect(JSON.parse(scored.stdout)).toMatchObject({ tokens: expect.anything() })
  for (const command of [['inspect'], ['export', '--format', 'hf']]) {
    const [name = '', ...options] = command
    const { code, stdout, stderr } = await choir(name, folder, ...options)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^choir: no run in .*model: its config.json is that of a mixtral model .*choir import/)
  }
})

test('an option that the model does not allow is refused by its flag', async () => {
  const { folder, run } = model('llama')
  const refused = await choir('import', folder, '--out', run, '--sequence', '64')
  expect(refused).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/invalid --sequence: 64 \(expected at most 32/),
  })
  writeFileSync(join(folder, '..', 'notes.txt'), '')
  const occupied = await choir('import', folder, '--out', join(folder, '..'))
  expect(occupied).toMatchObject({ code: 2, stderr: expect.stringMatching(/invalid --out: .* is not empty /) })
})
