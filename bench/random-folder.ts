/**
 * Writes a folder in Hugging Face's layout with the shapes of a published model and random bfloat16 weights, in shards:
 * what a downloaded model costs in memory, time and disk can then be measured without a download.
 *
 *   npx tsx bench/random-folder.ts olmoe-1b-7b --out models/olmoe
 *   npx tsx bench/random-folder.ts olmoe-1b-7b --layers 4 --out models/small
 */
import { mkdir, open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Argument, Command } from 'commander'
import { bytes, count } from '../src/core/text/numbers.ts'
import { numberOption, ranges } from '../src/faces/cli/options.ts'
import { byteLevelJson } from '../src/train/data/tokenizer/tokenizer-json.ts'
import type { StoredTensor } from '../src/train/run/checkpoint/safetensors.ts'
import { randomFor } from '../src/train/step/random.ts'
import { modelOf } from '../src/use/foreign/architectures/config-json.ts'
import type { TheirTensor } from '../src/use/foreign/architectures/contract.ts'
import { encode } from '../src/use/interchange/export/encode.ts'
import { safetensorsFiles } from '../src/use/interchange/export/hf/safetensors.ts'
import { runCommand } from './support/command.ts'

const common = {
  attention_bias: false,
  hidden_act: 'silu',
  norm_topk_prob: false,
  bos_token_id: null,
  eos_token_id: 256,
  tie_word_embeddings: false,
  torch_dtype: 'bfloat16',
}

/** The keys of config.json that decide what is computed, as the models were published (huggingface.co). */
const models: Readonly<Record<string, Record<string, unknown> & { readonly num_hidden_layers: number }>> = {
  'olmoe-1b-7b': {
    ...common,
    architectures: ['OlmoeForCausalLM'],
    model_type: 'olmoe',
    hidden_size: 2048,
    intermediate_size: 1024,
    num_hidden_layers: 16,
    num_attention_heads: 16,
    num_key_value_heads: 16,
    num_experts: 64,
    num_experts_per_tok: 8,
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    vocab_size: 50_304,
  },
  'qwen3-30b-a3b': {
    ...common,
    architectures: ['Qwen3MoeForCausalLM'],
    model_type: 'qwen3_moe',
    norm_topk_prob: true,
    hidden_size: 2048,
    intermediate_size: 6144,
    moe_intermediate_size: 768,
    decoder_sparse_step: 1,
    mlp_only_layers: [],
    num_hidden_layers: 48,
    num_attention_heads: 32,
    num_key_value_heads: 4,
    head_dim: 128,
    num_experts: 128,
    num_experts_per_tok: 8,
    max_position_embeddings: 40_960,
    rms_norm_eps: 1e-6,
    rope_theta: 1_000_000,
    vocab_size: 151_936,
  },
}

async function write(name: string, { out, layers }: { readonly out: string; readonly layers?: number }): Promise<void> {
  const published = models[name] as (typeof models)[string]
  const config = { ...published, num_hidden_layers: layers ?? published.num_hidden_layers }
  const { model, architecture } = modelOf(config)
  const theirs = architecture.tensors(model)
  await mkdir(out)
  await writeFile(join(out, 'config.json'), `${JSON.stringify(config, null, 2)}\n`)
  await writeFile(join(out, 'tokenizer.json'), byteLevelJson([]))
  const normals = normalNumbers()
  const files = safetensorsFiles(theirs.map((tensor, i) => randomTensor(tensor, i, normals)))
  for (const { name: file, pieces } of files) {
    const handle = await open(join(out, file), 'wx')
    try {
      for (const piece of pieces) await handle.writeFile(await piece.read())
    } finally {
      await handle.close()
    }
  }
  const parameters = theirs.reduce((sum, { shape }) => sum + sizeOf(shape), 0)
  process.stdout.write(`${out}: ${count(parameters)} parameters, ${bytes(2 * parameters)}\n`)
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, side) => product * side, 1)

const NORMALS = 2 ** 20 + 7

/** Normal numbers that all tensors share, from different places on: a tensor of its own would take hours. */
function normalNumbers(): Float32Array {
  const numbers = new Float32Array(NORMALS)
  randomFor(1, 'random-folder').truncatedNormal(numbers, 1)
  return numbers
}

/** Norms are 1, and matrices normal with the deviation 1/√columns, so that activations keep their scale. */
function randomTensor({ name, shape }: TheirTensor, i: number, normals: Float32Array): StoredTensor {
  const size = sizeOf(shape)
  const scale = shape.length === 1 ? 0 : 1 / Math.sqrt(shape.at(-1) as number)
  const read = async () => {
    const values = new Float32Array(size)
    for (let at = 0, from = (i * 7919) % NORMALS; at < size; from = 0) {
      const part = normals.subarray(from, from + size - at)
      values.set(part, at)
      at += part.length
    }
    return encode(scale === 0 ? values.fill(1) : values.map((value) => value * scale), 'bf16', name)
  }
  return { name, dtype: 'BF16', shape, byteLength: 2 * size, read }
}

await runCommand(
  new Command('npx tsx bench/random-folder.ts')
    .description('Writes a model of published shapes with random weights.')
    .addArgument(new Argument('<model>', 'the published model').choices(Object.keys(models)))
    .requiredOption('--out <folder>', 'folder to create')
    .addOption(
      numberOption(
        '--layers <n>',
        'number of layers (default: as many as the published model)',
        ranges.positiveInteger,
      ),
    )
    .action(write),
)
