/** The rules for texts of a model survive an export and another import. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../../node/data/testing/temporary-folder.ts'
import type { TextRules } from '../../../train/data/tokenizer/text-rules.ts'
import { bytesTokenizer, createTokenizer } from '../../../train/data/tokenizer/tokenizer.ts'
import { byteLevelJson } from '../../../train/data/tokenizer/tokenizer-json.ts'
import { readForeignRules } from '../../foreign/foreign-rules.ts'
import { tokenizerMetadata } from './gguf/tokenizer.ts'
import { specialIds, tokenizerFiles } from './text-files.ts'

const { make } = temporaryFolder()

const base = JSON.parse(byteLevelJson([]))
const special = ['<s>', '<|im_end|>', '<|eom|>'].map((content, i) => ({
  ...base.added_tokens[0],
  id: 257 + i,
  content,
}))
const withProcessor = (post_processor: object | null) =>
  JSON.stringify({ ...base, added_tokens: [...base.added_tokens, ...special], post_processor })
const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false }

const tokenizerOf = (json: string, rules?: TextRules) =>
  createTokenizer(
    json,
    'tokenizer.json',
    () => {
      throw new Error('unused')
    },
    rules,
  )

const chat: TextRules = {
  begin: null,
  end: [258, 256],
  specialTokens: { eos_token: '<|im_end|>', pad_token: '<|endoftext|>' },
  chatTemplate: '{{ messages }}',
}

async function files(tokenizer: ReturnType<typeof tokenizerOf>): Promise<Map<string, string>> {
  const texts = new Map<string, string>()
  for (const { name, pieces } of tokenizerFiles(tokenizer, 16))
    texts.set(name, Buffer.concat(await Promise.all(pieces.map(({ read }) => read()))).toString())
  return texts
}

test.each<[string, object | null, TextRules]>([
  ['no begin token and two end tokens', byteLevel, chat],
  ['no begin token, in a file without a processor', null, chat],
  // The token comes from `add_bos_token`, which the exported class does not read.
  ['a begin token that its tokenizer.json does not put there', byteLevel, { ...chat, begin: 257, end: [258] }],
])('a model with %s has the same rules when its export is imported', async (_, processor, rules) => {
  const tokenizer = tokenizerOf(withProcessor(processor), rules)
  const folder = make()
  for (const [name, text] of await files(tokenizer)) writeFileSync(join(folder, name), text)
  const json = (await files(tokenizer)).get('tokenizer.json') as string
  const read = await readForeignRules(folder, specialIds(tokenizer), json, 264)
  const bos = rules.begin === null ? {} : { bos_token: '<s>' }
  expect(read).toEqual({ rules: { ...rules, specialTokens: { ...bos, ...rules.specialTokens } }, notices: [] })
  // Without config.json the list of end tokens comes from generation_config.json.
  expect((await readForeignRules(folder, {}, json, 264)).rules.end).toEqual(rules.end)
})

test('a tokenizer of Choir puts the separator before a text in its export, and ends a text with it', async () => {
  const texts = await files(bytesTokenizer())
  const parsed = JSON.parse(texts.get('tokenizer.json') as string)
  expect(parsed.post_processor.single[0]).toEqual({ SpecialToken: { id: '<|endoftext|>', type_id: 0 } })
  expect(JSON.parse(texts.get('generation_config.json') as string)).toMatchObject({
    bos_token_id: 256,
    eos_token_id: 256,
  })
  const config = JSON.parse(texts.get('tokenizer_config.json') as string)
  expect(config).toMatchObject({ bos_token: '<|endoftext|>', eos_token: '<|endoftext|>' })
  expect(config).not.toHaveProperty('chat_template')
})

test('GGUF has up to three end tokens, the chat template, and whether a token is put before a text', () => {
  const value = (rules: TextRules, key: string) =>
    tokenizerMetadata(tokenizerOf(withProcessor(null), rules), 264)[`tokenizer.${key}`]?.value
  expect(value(chat, 'ggml.eos_token_id')).toBe(258)
  expect(value(chat, 'ggml.eot_token_id')).toBe(256)
  expect(value(chat, 'ggml.eom_token_id')).toBeUndefined()
  expect(value({ ...chat, end: [256, 258, 259, 3] }, 'ggml.eom_token_id')).toBe(259)
  expect(value(chat, 'chat_template')).toBe('{{ messages }}')
  expect(value({ ...chat, chatTemplate: null }, 'chat_template')).toBeUndefined()
  expect(value(chat, 'ggml.add_bos_token')).toBe(false)
  expect(value({ ...chat, begin: 257 }, 'ggml.add_bos_token')).toBe(true)
  expect(value({ ...chat, begin: 257 }, 'ggml.bos_token_id')).toBe(257)
})
