import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Fields } from '../../src/core/config/fields.ts'
import { RunError, UsageError } from '../../src/core/errors.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { samples } from '../../src/use/foreign/testing/samples.ts'
import { importModel } from '../../src/use/interchange/import/import-model.ts'
import { type WriteOptions, writeFolder } from './folders.ts'
import type { Weight } from './weights.ts'

const temporary = temporaryFolder()

/** Asserts that an import fails with a message, and leaves nothing. */
async function expectRefused(folder: string, kind: typeof UsageError | typeof RunError, message: RegExp) {
  const root = temporary.make()
  const failure = await importModel(folder, join(root, 'run')).catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(kind)
  expect((failure as Error).message).toMatch(message)
  expect(readdirSync(root)).toEqual([])
}

const folderOf = (name: keyof typeof samples, options: WriteOptions = {}) =>
  writeFolder(join(temporary.make(), 'model'), samples[name] as Fields, options).folder

test.each<[keyof typeof samples, Fields, RegExp]>([
  ['llama', { hidden_act: 'gelu' }, /unsupported hidden_act: "gelu" \(supported: "silu" or "swish"\)/],
  ['llama', { mlp_bias: true }, /unsupported mlp_bias: true \(supported: false\)/],
  [
    'llama',
    { rope_scaling: { type: 'dynamic', factor: 2 } },
    /rope_scaling.rope_type: "dynamic" \(supported: default, linear/,
  ],
  ['llama', { partial_rotary_factor: 0.5 }, /unsupported partial_rotary_factor: 0.5/],
  [
    'llama',
    { rope_parameters: { full_attention: { rope_theta: 1 } } },
    /rope_parameters.full_attention: .*one rotation/,
  ],
  ['llama', { hidden_size: 'wide' }, /invalid hidden_size: "wide" \(expected a positive integer\)/],
  ['llama', { num_hidden_layers: null }, /config.json lacks num_hidden_layers/],
  ['llama', { num_key_value_heads: 3 }, /invalid model.keyValueHeads: 3 \(must divide heads 4\)/],
  ['llama', { quantization_config: { quant_method: 'gptq' } }, /unsupported quantization_config: "gptq"/],
  ['olmoe', { clip_qkv: 8 }, /unsupported clip_qkv: 8 \(supported: null/],
  ['qwen3_moe', { mlp_only_layers: [1] }, /unsupported sparse layers: \[0,2\] of 3 \(supported: dense layers first/],
  [
    'qwen2_moe',
    { use_sliding_window: true },
    /unsupported use_sliding_window: true \(supported: false, or layer_types/,
  ],
  [
    'qwen3',
    { use_sliding_window: true, sliding_window: 4, max_window_layers: 1 },
    /unsupported max_window_layers: 1 \(supported/,
  ],
  [
    'llama',
    { rms_norm_eps: 1e-50 },
    /invalid rms_norm_eps: 1e-50 \(expected a positive number of float32, 1\.2e-38 to/,
  ],
  ['llama', { rope_theta: 1e300 }, /invalid rope_theta: 1e\+300 \(expected a positive number of float32/],
  ['granite', { embedding_multiplier: 1e39 }, /invalid embedding_multiplier: 1e\+39 \(expected a positive/],
  ['granite', { logits_scaling: 1e-40 }, /invalid logits_scaling: 1e-40 \(expected a positive/],
  [
    'qwen2',
    { use_sliding_window: true, sliding_window: 0 },
    /invalid sliding_window: 0 \(expected a positive integer\)/,
  ],
  ['deepseek', { scoring_func: 'sigmoid' }, /unsupported scoring_func: "sigmoid" \(supported: "softmax"\)/],
  ['dots1', { topk_method: 'greedy' }, /unsupported topk_method: "greedy" \(supported: "noaux_tc"\)/],
  [
    'mixtral',
    { model_type: 'deepseek_v3' },
    /model_type "deepseek_v3": its attention compresses keys and values \(MLA\)/,
  ],
  ['mixtral', { model_type: 'mixtrall' }, /unsupported model_type "mixtrall" .*did you mean "mixtral"/],
])('%s with %j is refused with the key, its value and the supported values', async (name, keys, message) => {
  await expectRefused(folderOf(name, { keys }), UsageError, message)
})

const tensor = (tensors: Map<string, Weight>, name: string) => tensors.get(name) as Weight

test.each<[string, NonNullable<WriteOptions['change']>, RegExp]>([
  [
    'missing',
    (tensors) => {
      for (const name of [...tensors.keys()]) if (name.includes('.experts.1.')) tensors.delete(name)
    },
    /it lacks model.layers.0.block_sparse_moe.experts.1.w1.weight, .*w3.weight, .*w2.weight and 6 more tensors/,
  ],
  [
    'unknown',
    (tensors) => {
      tensors.set('model.layers.3.input_layernorm.weight', tensor(tensors, 'model.norm.weight'))
    },
    /it holds, without a place in this model, model.layers.3.input_layernorm.weight/,
  ],
  [
    'misshapen',
    (tensors) => {
      const { type, values, bytes } = tensor(tensors, 'model.layers.1.self_attn.k_proj.weight')
      tensors.set('model.layers.1.self_attn.k_proj.weight', { type, values, bytes, shape: [16, 8] })
    },
    /it holds in another shape model.layers.1.self_attn.k_proj.weight \[16, 8\] \(expected \[8, 16\]\)/,
  ],
  [
    'of another type',
    (tensors) => {
      const norm = tensor(tensors, 'model.norm.weight')
      tensors.set('model.norm.weight', { ...norm, type: 'I32' as never })
    },
    /it holds in a type that is not read \(expected F32, BF16 or F16\) model.norm.weight I32/,
  ],
])('tensors that are %s are named', async (_, change, message) => {
  await expectRefused(folderOf('mixtral', { change }), RunError, message)
})

/** Writes a number into the bytes of an F32 tensor. */
const withNumber = (name: string, at: number, value: number) => (tensors: Map<string, Weight>) => {
  const { bytes, ...rest } = tensor(tensors, name)
  const copy = bytes.slice()
  new DataView(copy.buffer).setFloat32(4 * at, value, true)
  tensors.set(name, { ...rest, bytes: copy })
}

test.each([
  // The tensor is transposed into a part of ours. Its shape is [8, 16], so element 35 is at [2, 3].
  ['llama', 'model.layers.1.self_attn.k_proj.weight', 35, Number.NaN, 'has NaN at [2, 3] of [8, 16]'],
  ['llama', 'model.norm.weight', 15, Number.NEGATIVE_INFINITY, 'has -Infinity at [15] of [16]'],
  // The experts are in one tensor [5, 20, 16].
  [
    'granitemoe',
    'model.layers.2.block_sparse_moe.input_linear.weight',
    (4 * 20 + 19) * 16 + 1,
    Number.POSITIVE_INFINITY,
    'has Infinity at [4, 19, 1] of [5, 20, 16]',
  ],
] as const)(
  'a number of %s that is not finite is refused with its tensor and its place',
  async (sample, name, at, value, place) => {
    const folder = folderOf(sample, { change: withNumber(name, at, value) })
    const message = `model.safetensors: ${name} ${place}`.replace(/[.[\]]/g, '\\$&')
    await expectRefused(folder, RunError, new RegExp(message))
  },
)

test('all faults of the tensors are in one message', async () => {
  const folder = folderOf('llama', {
    change: (tensors) => {
      tensors.set('extra.weight', tensor(tensors, 'lm_head.weight'))
      tensors.delete('lm_head.weight')
    },
  })
  await expectRefused(
    folder,
    RunError,
    /not those of its config.json:\n {2}it lacks lm_head.weight\n {2}it holds, .* extra/,
  )
})

test('damaged files are named', async () => {
  const cut = folderOf('llama')
  truncateSync(join(cut, 'model.safetensors'), 2000)
  await expectRefused(cut, RunError, /model.safetensors is damaged/)
  const shards = folderOf('llama', { shards: 2 })
  rmSync(join(shards, 'model-00002-of-00002.safetensors'))
  await expectRefused(shards, RunError, /cannot read .*model-00002-of-00002.safetensors/)
  const json = folderOf('llama')
  writeFileSync(join(json, 'config.json'), '{')
  await expectRefused(json, RunError, /cannot read .*config.json/)
})

test('the message about a folder of another format advises on it', async () => {
  const root = temporary.make()
  await expectRefused(join(root, 'none'), UsageError, /no such folder: .*none" \(expected a folder with config.json/)
  await expectRefused(root, UsageError, /is empty \(expected a folder/)
  writeFileSync(join(root, 'model.Q4.gguf'), '')
  await expectRefused(root, UsageError, /has no config.json .*; a GGUF file is given by its own path/)
  await expectRefused(
    join(root, 'model.Q4.gguf'),
    UsageError,
    /model\.Q4\.gguf is not a GGUF file: it begins with "" \(expected "GGUF"\)/,
  )
  const pickled = folderOf('llama')
  rmSync(join(pickled, 'model.safetensors'))
  writeFileSync(join(pickled, 'pytorch_model.bin'), '')
  await expectRefused(pickled, UsageError, /no model.safetensors .*it holds pytorch_model.bin: convert them: AutoModel/)
})

test('tokenizers that are missing or of another model are refused', async () => {
  const folder = folderOf('llama')
  const path = join(folder, 'tokenizer.json')
  copyFileSync(path, join(folder, 'kept.json'))
  rmSync(path)
  await expectRefused(folder, UsageError, /no tokenizer.json in .* \(make it from tokenizer.model/)
  copyFileSync(join(folder, 'kept.json'), path)
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...samples.llama, vocab_size: 100 }))
  await expectRefused(folder, UsageError, /tokenizer.json has 257 tokens but the model has 100/)
})

test.each<[string, WriteOptions, RegExp]>([
  [
    'a text',
    { keys: { eos_token_id: '</s>' } },
    /^config.json: invalid eos_token_id: "<\/s>" \(expected the id of a token/,
  ],
  ['a negative id', { keys: { eos_token_id: -1 } }, /^config.json: invalid eos_token_id: -1/],
  [
    'an id beyond the vocabulary',
    { keys: { bos_token_id: 264 } },
    /^config.json: invalid bos_token_id: 264 \(expected an id below 264, the vocabulary of the model\)/,
  ],
  [
    'such an id in a list',
    { files: { 'generation_config.json': { eos_token_id: [2, 151_645] } } },
    /^generation_config.json: invalid eos_token_id: 151645 \(expected an id below 264/,
  ],
  [
    'a flag that is text',
    { files: { 'tokenizer_config.json': { add_bos_token: 'yes' } } },
    /^tokenizer_config.json: invalid add_bos_token: "yes" \(expected true or false\)/,
  ],
  [
    'a token that is a number',
    { files: { 'tokenizer_config.json': { eos_token: 2 } } },
    /^tokenizer_config.json: invalid eos_token: 2 \(expected a token, or an object with its content\)/,
  ],
  [
    'a begin token that the tokenizer lacks',
    { files: { 'tokenizer_config.json': { tokenizer_class: 'LlamaTokenizer', bos_token: '<s>' } } },
    /^tokenizer_config.json: invalid bos_token: "<s>" \(expected a token of tokenizer.json\)/,
  ],
  [
    'a chat template that is no text',
    { files: { 'tokenizer_config.json': { chat_template: 5 } } },
    /^tokenizer_config.json: invalid chat_template: 5 \(expected text\)/,
  ],
  [
    'a chat template that is too long',
    { files: { 'chat_template.jinja': ' '.repeat(300_000) } },
    /^invalid chat_template.jinja: it has 300,000 characters \(expected at most 262,144\)/,
  ],
])('%s is refused with its file and field', async (_, options, message) => {
  await expectRefused(folderOf('llama', options), UsageError, message)
})

test('a tokenizer_config.json or generation_config.json that is no JSON object is named', async () => {
  for (const name of ['tokenizer_config.json', 'generation_config.json'])
    for (const contents of ['{', '[1]'])
      await expectRefused(
        folderOf('llama', { files: { [name]: contents } }),
        RunError,
        new RegExp(`cannot read .*${name}`),
      )
})

test('a folder with files is not written into', async () => {
  const folder = folderOf('llama')
  const out = temporary.make()
  writeFileSync(join(out, 'notes.txt'), '')
  await expect(importModel(folder, out)).rejects.toThrow(
    /invalid out: .* is not empty \(expected a new or an empty folder\)/,
  )
  await expect(importModel(folder, join(out, 'notes.txt'))).rejects.toThrow(
    /is a file \(expected a new or an empty folder\)/,
  )
  mkdirSync(join(out, 'empty'))
  await importModel(folder, join(out, 'empty'))
  expect(existsSync(join(out, 'empty', 'config.json'))).toBe(true)
})

test('an import that is interrupted leaves nothing', async () => {
  const folder = folderOf('llama')
  const root = temporary.make()
  const controller = new AbortController()
  const seen: number[] = []
  const onProgress = (done: number) => {
    seen.push(done)
    if (seen.length === 3) controller.abort()
  }
  await expect(importModel(folder, join(root, 'run'), { signal: controller.signal, onProgress })).rejects.toThrow(
    /abort/,
  )
  expect(seen).toHaveLength(3)
  expect(readdirSync(root)).toEqual([])
})
