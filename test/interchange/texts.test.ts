/**
 * Imported models begin and end texts as their own files say. The ids that a model reads are written by hand, and the
 * witness continues them greedily.
 *
 * @slow
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { Fields } from '../../src/core/config/fields.ts'
import { configFrom, train } from '../../src/faces/library/index.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import type { Tokenizer } from '../../src/train/data/tokenizer/tokenizer.ts'
import { samples } from '../../src/use/foreign/testing/samples.ts'
import { Generator } from '../../src/use/infer/generation/generator.ts'
import { importModel } from '../../src/use/interchange/import/import-model.ts'
import { generate, type Prompt } from '../../src/use/runs/generate.ts'
import { loadModel } from '../../src/use/runs/trained-model.ts'
import type { Vector } from './decoder.ts'
import { type WriteOptions, type Written, writeFolder } from './folders.ts'
import { logitsOf } from './models.ts'
import {
  deepseekFiles,
  deepseekKeys,
  mixtralFiles,
  mixtralKeys,
  olmoeFiles,
  olmoeKeys,
  qwen3Files,
  qwen3Keys,
} from './tokenizers.ts'

const temporary = temporaryFolder()

/** Imports a small random model. */
async function imported(sample: keyof typeof samples, options: WriteOptions = {}) {
  const root = temporary.make()
  const written = writeFolder(join(root, 'model'), samples[sample] as Fields, options)
  const run = join(root, 'run')
  const report = await importModel(written.folder, run)
  const { tokenizer, close } = await loadModel(run, { threads: 1 }, () => {})
  await close()
  return { ...written, root, run, report, tokenizer }
}

const shapes = {
  qwen3_moe: { files: qwen3Files, keys: qwen3Keys },
  olmoe: { files: olmoeFiles, keys: olmoeKeys },
  deepseek: { files: deepseekFiles, keys: deepseekKeys },
  mixtral: { files: mixtralFiles, keys: mixtralKeys },
} as const

/** The greedy continuation of ids by the witness, up to an end token or to a number of tokens. */
function greedy({ config, weights }: Written, ids: readonly number[], vocabulary: number, length: number): number[] {
  const made: number[] = []
  while (made.length < length) {
    const row = (logitsOf(config, weights, [...ids, ...made]).at(-1) as Vector).slice(0, vocabulary)
    made.push(row.indexOf(Math.max(...row)))
  }
  return made
}

/** Choir's greedy text, how it ended, and the ids that the model read before it. */
async function greedyText(run: string, prompt: Prompt, tokens: number) {
  const reading = vi.spyOn(Generator.prototype, 'tokens')
  onTestFinished(() => reading.mockRestore())
  const options = { temperature: 0, topK: 0, topP: 1, seed: 0, threads: 1 }
  const pieces = generate(run, { ...options, prompt, tokens })
  let text = ''
  for (;;) {
    const { done, value } = await pieces.next()
    if (done) return { read: reading.mock.calls.at(-1)?.[0], text, reason: value.reason, tokens: value.tokens }
    text += value
  }
}

const bytes = (text: string) => [...Buffer.from(text)]

/** Text of ids, id by id: random ids are no valid UTF-8, of which some decoders make other texts as a whole. */
function textOf({ stream }: Tokenizer, ids: readonly number[]): string {
  const text = stream()
  return ids.map((id) => text.push(id)).join('') + text.end()
}

test.each([
  // H is byte 72, i is byte 105.
  ['qwen3_moe', [72, 105], [258, 256]],
  ['olmoe', [72, 105], [256]],
  ['deepseek', [257, 72, 105], [258]],
  ['mixtral', [1, 259, 260, 261], [2]],
] as const)('%s reads and ends a text as its own tokenizer does', async (name, ids, end) => {
  const model = await imported(name, shapes[name])
  const { tokenizer, run } = model
  expect(tokenizer.rules).toMatchObject({ begin: ids.length === 2 ? null : ids[0], end })
  expect([...(await tokenizer.encode('Hi'))]).toEqual(ids.length === 2 ? ids : ids.slice(1))
  const made = greedy(model, ids, tokenizer.vocabulary, 8)
  expect(made.some((id) => (end as readonly number[]).includes(id))).toBe(false)
  expect(await greedyText(run, 'Hi', 8)).toEqual({
    read: ids,
    text: textOf(tokenizer, made),
    reason: 'length',
    tokens: 8,
  })
})

test('a text ends at each token of the list in generation_config.json, which goes before config.json', async () => {
  const plain = await imported('qwen3_moe', shapes.qwen3_moe)
  const made = greedy(plain, [72, 105], plain.tokenizer.vocabulary, 8)
  const at = made.findIndex((id, i) => i >= 2 && made.indexOf(id) === i)
  expect(at).toBeGreaterThan(0)
  // The second id of the list comes at a known place; config.json names the first token of the text.
  const files = { ...qwen3Files, 'generation_config.json': { eos_token_id: [258, made[at] as number] } }
  const { run, tokenizer, report } = await imported('qwen3_moe', { files, keys: { eos_token_id: made[0] } })
  expect(report.end.map(({ id }) => id)).toEqual([258, made[at]])
  const text = textOf(tokenizer, made.slice(0, at))
  expect(await greedyText(run, 'Hi', 8)).toEqual({ read: [72, 105], text, reason: 'end', tokens: at })
})

test('a chat is read as its template writes it, without a begin token before it', async () => {
  const chat = [{ role: 'user', content: 'Hi' }]
  const qwen = await imported('qwen3_moe', { ...shapes.qwen3_moe, keys: { ...qwen3Keys, max_position_embeddings: 64 } })
  // <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n
  const ids = [257, ...bytes('user\nHi'), 258, ...bytes('\n'), 257, ...bytes('assistant\n')]
  const made = greedy(qwen, ids, qwen.tokenizer.vocabulary, 5)
  expect(made.some((id) => id === 256 || id === 258)).toBe(false)
  expect(await greedyText(qwen.run, chat, 5)).toMatchObject({ read: ids, text: textOf(qwen.tokenizer, made) })
  const mixtral = await imported('mixtral', shapes.mixtral)
  // <s>[INST] Hi [/INST]: the space before [INST] comes from the tokenizer. `[` and other characters are bytes, from 3 on.
  const bytesOf = (text: string) => bytes(text).map((byte) => byte + 3)
  const inst = [1, 259, ...bytesOf('[INST]'), 259, 260, 261, 259, ...bytesOf('[/INST]')]
  const answer = greedy(mixtral, inst, mixtral.tokenizer.vocabulary, 5)
  expect(answer).not.toContain(2)
  expect(await greedyText(mixtral.run, chat, 5)).toMatchObject({ read: inst, text: textOf(mixtral.tokenizer, answer) })
})

test('a model that is trained further keeps its rules, and the separator of documents ends its texts too', async () => {
  const { root, run } = await imported('deepseek', shapes.deepseek)
  const source = join(root, 'text.txt')
  writeFileSync(source, 'It is not down in any map; true places never are. '.repeat(40))
  const directory = join(root, 'tuned')
  const input = { data: { source, cache: join(root, 'cache') }, train: { steps: 1, batch: 1, microBatches: 1 } }
  await train(await configFrom(run, input), { directory, from: { run } })
  const rules = (of: string) => JSON.parse(readFileSync(join(of, 'generation.json'), 'utf8'))
  expect(rules(directory)).toEqual({ ...rules(run), end: [258, 256] })
  const { tokenizer, close } = await loadModel(directory, { threads: 1 }, () => {})
  await close()
  expect(tokenizer.rules).toMatchObject({ begin: 257, end: [258, 256] })
})

test('an empty text of a model without a begin token follows the separator of documents', async () => {
  const model = await imported('olmoe', shapes.olmoe)
  const made = greedy(model, [256], model.tokenizer.vocabulary, 3)
  expect(made).not.toContain(256)
  expect(await greedyText(model.run, '', 3)).toMatchObject({ read: [256], text: textOf(model.tokenizer, made) })
})

test('where files contradict each other, the template of tokenizer.json holds, and the import says so', async () => {
  const config = { ...(mixtralFiles['tokenizer_config.json'] as Fields), add_bos_token: false }
  const { report } = await imported('mixtral', {
    ...shapes.mixtral,
    files: { ...mixtralFiles, 'tokenizer_config.json': config },
  })
  expect(report.begin).toEqual({ id: 1, token: '<s>' })
  expect(report.notices).toEqual([
    'tokenizer_config.json has add_bos_token false, but the template of tokenizer.json puts a token before a text: the ' +
      'template holds, as in transformers 5',
  ])
  for (const name of ['qwen3_moe', 'olmoe', 'deepseek', 'mixtral'] as const)
    expect((await imported(name, shapes[name])).report.notices).toEqual([])
})

test('a class of Llama without a template in tokenizer.json adds no token if add_bos_token is false', async () => {
  const config = deepseekFiles['tokenizer_config.json'] as Fields
  const begin = async (fields: Fields) =>
    (await imported('deepseek', { ...shapes.deepseek, files: { ...deepseekFiles, 'tokenizer_config.json': fields } }))
      .report.begin
  expect(await begin({ ...config, add_bos_token: false })).toBeNull()
  // True is the default of the class, and other classes do not read the key.
  expect((await begin({ ...config, add_bos_token: undefined }))?.id).toBe(257)
  expect(await begin({ ...config, tokenizer_class: 'PreTrainedTokenizerFast' })).toBeNull()
})

test('end tokens come from config.json, tokenizer_config.json and the tokenizer, in this order, if files are missing', async () => {
  const ends = async (files: WriteOptions['files'], keys: Fields) =>
    (await imported('olmoe', { files: files ?? {}, keys })).report.end.map(({ id }) => id)
  const tokenizer = { 'tokenizer.json': qwen3Files['tokenizer.json'] as string }
  const config = { 'tokenizer_config.json': { eos_token: '<|im_end|>' } }
  expect(await ends({ ...tokenizer, ...config }, { eos_token_id: [257, 257] })).toEqual([257])
  expect(await ends({ ...tokenizer, ...config }, { eos_token_id: null })).toEqual([258])
  expect(await ends(tokenizer, { eos_token_id: null })).toEqual([256])
})

test('chat_template.jinja goes before tokenizer_config.json, where a list has the template by the name default', async () => {
  const template = async (files: WriteOptions['files']) => {
    const { run } = await imported('olmoe', { files: files ?? {} })
    return JSON.parse(readFileSync(join(run, 'generation.json'), 'utf8')).chatTemplate
  }
  const list = {
    chat_template: [
      { name: 'tool_use', template: 'tools' },
      { name: 'default', template: 'chat' },
    ],
  }
  expect(await template({ 'tokenizer_config.json': list })).toBe('chat')
  expect(await template({ 'tokenizer_config.json': list, 'chat_template.jinja': 'file' })).toBe('file')
  expect(await template({})).toBeNull()
})

test('a model without a chat template refuses a chat, and says what to do', async () => {
  const { run } = await imported('olmoe', shapes.olmoe)
  await expect(greedyText(run, [{ role: 'user', content: 'Hi' }], 1)).rejects.toThrow(
    /the model in ".*run" has no chat template, so it is no chat model \(give it a text to continue: .*prompt\)/,
  )
})

test('a damaged generation.json is refused with the field', async () => {
  const { run } = await imported('olmoe', shapes.olmoe)
  const path = join(run, 'generation.json')
  const rules = JSON.parse(readFileSync(path, 'utf8')) as Fields
  const refusals: [unknown, RegExp][] = [
    [{ ...rules, end: [] }, /cannot read .*generation\.json: end: .*import the model again/],
    [{ ...rules, end: ['a'] }, /end\.0/],
    [{ ...rules, begin: -1 }, /begin/],
    [{ ...rules, chatTemplate: 5 }, /chatTemplate/],
    [{ ...rules, begin: 300 }, /tokenizer\.json puts token 300 before a text, which its vocabulary does not have/],
  ]
  for (const [contents, message] of refusals) {
    writeFileSync(path, JSON.stringify(contents))
    await expect(greedyText(run, 'Hi', 1)).rejects.toThrow(message)
  }
})
