/** @slow */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Fields } from '../../src/core/config/fields.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { importedData, RunState } from '../../src/train/run/run-state.ts'
import { samples } from '../../src/use/foreign/testing/samples.ts'
import { importModel } from '../../src/use/interchange/import/import-model.ts'
import { evaluateRun } from '../../src/use/runs/evaluate.ts'
import {
  choirContinuation,
  choirLogits,
  relativeDifference,
  type WriteOptions,
  witnessContinuation,
  writeFolder,
} from './folders.ts'
import { logitsOf } from './models.ts'
import type { StoredType } from './weights.ts'

const temporary = temporaryFolder()

/** Imports a small random model, and compares its logits with the witness. */
async function check(sample: Fields, options: WriteOptions = {}) {
  const root = temporary.make()
  const written = writeFolder(join(root, 'model'), sample, options)
  const run = join(root, 'run')
  const report = await importModel(written.folder, run)
  const logits = await choirLogits(run)
  expect(relativeDifference(logits, written.logits)).toBeLessThan(1e-5)
  expect(await choirLogits(written.folder), 'read in place').toEqual(logits)
  return { ...written, root, run, report }
}

test.each(Object.entries(samples))('%s has the logits of its published code', async (_, sample) => {
  const { root, run, report, weights } = await check(sample)
  expect(report.tensors.map(({ name }) => name).sort()).toEqual(weights.names.sort())
  expect(report).toMatchObject({ ignoredKeys: [], ignoredTensors: [], made: [] })
  expect(JSON.parse(readFileSync(join(run, 'import.json'), 'utf8'))).toEqual(report)
  expect(readdirSync(root).sort()).toEqual(['model', 'run'])
})

test.each(Object.entries(samples))('%s generates the tokens of its published code', async (_, sample) => {
  const { run, ...written } = await check(sample)
  const { made, margin } = witnessContinuation(written, 8)
  // Logits differ by less than 1e-5 (see `check`), so a lead of twice that cannot change hands.
  expect(margin).toBeGreaterThan(2e-5)
  for (const kernels of [true, false]) expect(await choirContinuation(run, 8, kernels)).toEqual(made)
})

test.each(['BF16', 'F16'] as const)('a model in %s keeps its type with `source`, and every number', async (type) => {
  const root = temporary.make()
  const { folder } = writeFolder(join(root, 'model'), samples.qwen2_moe as Fields, { type, shards: 2 })
  const [float, source] = [join(root, 'float'), join(root, 'source')]
  const reports = [await importModel(folder, float), await importModel(folder, source, { dtype: 'source' })]
  expect(reports.map(({ storedAs }) => storedAs)).toEqual([['F32'], [type]])
  expect(reports[1]?.bytes.written).toBe((reports[0]?.bytes.written as number) / 2)
  expect(await choirLogits(source)).toEqual(await choirLogits(float))
  expect(await choirContinuation(source, 4, true)).toEqual(await choirContinuation(float, 4, true))
})

test('with `source` a tensor stays float32 if it was, or if it has an odd number of elements', async () => {
  const root = temporary.make()
  const sample = { ...samples.qwen3_moe, hidden_size: 15 }
  const { folder } = writeFolder(join(root, 'model'), sample as Fields, { type: 'BF16' })
  const report = await importModel(folder, join(root, 'run'), { dtype: 'source' })
  expect(report.storedAs.toSorted()).toEqual(['BF16', 'F32'])
  await importModel(folder, join(root, 'float'))
  expect(await choirLogits(join(root, 'run'))).toEqual(await choirLogits(join(root, 'float')))
})

const cases: Record<string, [keyof typeof samples, Fields, Fields?]> = {
  'windows in some layers': [
    'qwen3',
    {
      num_hidden_layers: 4,
      sliding_window: 4,
      use_sliding_window: true,
      layer_types: ['sliding_attention', 'full_attention', 'sliding_attention', 'full_attention'],
    },
  ],
  'experts in groups': ['dots1', { n_group: 4, topk_group: 2, norm_topk_prob: false }],
  'biases in all of attention': ['llama', { attention_bias: true, head_dim: 6 }],
  'every second layer sparse': ['deepseek', { num_hidden_layers: 5, first_k_dense_replace: 2, moe_layer_freq: 2 }],
  'gates divided by their sum, heads in groups': ['olmoe', { norm_topk_prob: true, num_key_value_heads: 1 }],
  'tied output': ['mixtral', { tie_word_embeddings: true }],
  'rope_parameters of transformers 5': [
    'llama',
    {},
    {
      rope_theta: null,
      rope_scaling: null,
      rope_parameters: { ...(samples.llama?.rope_scaling as Fields), rope_theta: samples.llama?.rope_theta },
    },
  ],
  'YaRN with all its keys': [
    'qwen3',
    {
      rope_scaling: {
        rope_type: 'yarn',
        factor: 2,
        original_max_position_embeddings: 16,
        beta_fast: 4,
        beta_slow: 0.5,
        attention_factor: 1.3,
      },
    },
  ],
}

test.each(Object.entries(cases))('a model with %s has the logits of the witness', async (_, [name, change, keys]) => {
  await check({ ...samples[name], ...change }, keys && { keys })
})

test.each<[StoredType, number]>([
  ['BF16', 1],
  ['F16', 3],
  ['F32', 2],
])('a model with weights in %s, in %i files, has the logits of the witness', async (type, shards) => {
  const { report } = await check(samples.granitemoeshared as Fields, { type, shards })
  expect(new Set(report.tensors.map(({ dtype }) => dtype))).toEqual(new Set([type]))
})

test('a tied output matrix and constants that are stored too are left out, and reported', async () => {
  const { report } = await check(samples.qwen2 as Fields, {
    change: (tensors) => {
      const table = tensors.get('model.embed_tokens.weight')
      if (table) tensors.set('lm_head.weight', table)
      const norm = tensors.get('model.norm.weight')
      if (norm) tensors.set('model.layers.0.self_attn.rotary_emb.inv_freq', norm)
    },
  })
  expect(report.ignoredTensors).toEqual(['lm_head.weight', 'model.layers.0.self_attn.rotary_emb.inv_freq'])
})

test('a key that Choir does not know is reported', async () => {
  const { report } = await check({ ...samples.llama, use_sinks: true })
  expect(report.ignoredKeys).toEqual(['use_sinks'])
})

test('choir eval has the loss of the witness on the same windows', async () => {
  const { root, run, config, weights } = await check(samples.qwen3_moe as Fields)
  const text = 'Call me Ishmael. Some years ago, never mi'
  writeFileSync(join(root, 'text.txt'), text)
  const record = await evaluateRun(run, { source: join(root, 'text.txt') })
  const END = 256
  const stream = [END, ...Buffer.from(text), END]
  const lossAt = (row: readonly number[], target: number) => {
    const top = Math.max(...row)
    return top + Math.log(row.reduce((sum, value) => sum + Math.exp(value - top), 0)) - (row[target] as number)
  }
  const nats: number[] = []
  for (let from = 0; from < stream.length - 1; from += 32) {
    const window = stream.slice(from, Math.min(from + 32, stream.length - 1))
    for (const [t, row] of logitsOf(config, weights, window).entries())
      nats.push(lossAt(row, stream[from + t + 1] as number))
  }
  expect(record.evaluated_tokens).toBe(nats.length)
  expect(record.loss).toBeCloseTo(nats.reduce((sum, value) => sum + value, 0) / nats.length, 5)
})

test('an imported run has no held-out text', async () => {
  const { run } = await check(samples.llama as Fields)
  await expect(evaluateRun(run)).rejects.toThrow(/no held-out text: .* was trained elsewhere \(name the text/)
})

test('an imported run is not resumed, since it has no state of a training', () => {
  const state = new RunState(
    undefined as never,
    { hash: 'of a text', tokenizer: '' },
    undefined as never,
    undefined as never,
  )
  expect(() => state.adopt({ data: importedData, updates: 0, nonFiniteInRow: 0 }, 'step-0')).toThrow(
    /cannot resume from step-0: this model was imported, .* \(train it with from\)/,
  )
})

test('a sequence is at most as long as the model allows', async () => {
  const root = temporary.make()
  const { folder } = writeFolder(join(root, 'model'), samples.llama as Fields)
  await importModel(folder, join(root, 'run'), { sequence: 8 })
  expect(JSON.parse(readFileSync(join(root, 'run', 'config.json'), 'utf8')).model.sequence).toBe(8)
  await expect(importModel(folder, join(root, 'other'), { sequence: 64 })).rejects.toThrow(
    /invalid sequence: 64 \(expected at most 32/,
  )
})
