/** Special tokens of folders of older versions, as transformers reads them (`_from_pretrained` in tokenization_utils_base.py). */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Fields } from '../../core/config/fields.ts'
import { temporaryFolder } from '../../node/data/testing/temporary-folder.ts'
import { byteLevelJson } from '../../train/data/tokenizer/tokenizer-json.ts'
import { readForeignRules } from './foreign-rules.ts'

const temporary = temporaryFolder()
const base = JSON.parse(byteLevelJson([]))
const json = JSON.stringify({
  ...base,
  added_tokens: [
    ...base.added_tokens,
    ...['<s>', '</s>', '<end>'].map((content, i) => ({ ...base.added_tokens[0], id: 257 + i, content })),
  ],
})

function rulesOf(files: Readonly<Record<string, Fields>>) {
  const folder = temporary.make()
  for (const [name, fields] of Object.entries(files)) writeFileSync(join(folder, name), JSON.stringify(fields))
  return readForeignRules(folder, {}, json, 264)
}

test('special_tokens_map.json holds unless tokenizer_config.json names the added tokens', async () => {
  const special = { 'special_tokens_map.json': { eos_token: { content: '<end>' } } }
  expect((await rulesOf(special)).rules.end).toEqual([259])
  const config = { eos_token: '</s>', bos_token: '<s>' }
  const older = await rulesOf({ ...special, 'tokenizer_config.json': config })
  expect(older.rules).toMatchObject({ end: [259], specialTokens: { eos_token: '<end>', bos_token: '<s>' } })
  const newer = await rulesOf({ ...special, 'tokenizer_config.json': { ...config, added_tokens_decoder: {} } })
  expect(newer.rules).toMatchObject({ end: [258], specialTokens: { eos_token: '</s>' } })
})

test('a special token that tokenizer.json lacks is refused by the file that names it', async () => {
  await expect(rulesOf({ 'special_tokens_map.json': { eos_token: '<none>' } })).rejects.toThrow(
    'special_tokens_map.json: invalid eos_token: "<none>" (expected a token of tokenizer.json)',
  )
})
