/**
 * Writes a model with the shapes of a published one and random weights, as a folder in Hugging Face's layout or as a GGUF
 * file: what a downloaded model costs in memory, time and disk can then be measured without a download. The files are
 * those of `choir export`, which reads a tensor when it is written, so memory holds one tensor at a time.
 *
 *   npx tsx bench/generation/random-folder.ts olmoe-1b-7b --out models/olmoe
 *   npx tsx bench/generation/random-folder.ts olmoe-1b-7b --layers 2 --format gguf --dtype q4_0 --out models/olmoe-2-q4_0
 */
import { Argument, Command, Option } from 'commander'
import { runSchema } from '../../src/core/config/run-config.ts'
import { sizeOf } from '../../src/core/graph/shape.ts'
import type { ModelConfig } from '../../src/core/model/config.ts'
import { describeModel } from '../../src/core/model/describe.ts'
import { expertName, type ParameterSpec, parameterSpecs } from '../../src/core/model/parameters.ts'
import { randomFor } from '../../src/core/random.ts'
import { bytes, count } from '../../src/core/text/numbers.ts'
import { createRuntime } from '../../src/engine/cpu/cpu-runtime.ts'
import { numberOption, ranges } from '../../src/faces/cli/options.ts'
import { NewFolder } from '../../src/node/run/new-folder.ts'
import { bytesTokenizer } from '../../src/train/data/tokenizer/tokenizer.ts'
import { modelOf } from '../../src/use/foreign/architectures/config-json.ts'
import { type ExportDtype, exportDtypes } from '../../src/use/interchange/export/contract.ts'
import { ggufFormat } from '../../src/use/interchange/export/gguf/format.ts'
import { hfFormat } from '../../src/use/interchange/export/hf/format.ts'
import type { Weights } from '../../src/use/interchange/export/weights.ts'
import { runCommand } from '../support/command.ts'

const common = {
  attention_bias: false,
  hidden_act: 'silu',
  norm_topk_prob: false,
  bos_token_id: null,
  eos_token_id: 256,
  tie_word_embeddings: false,
}

const olmoe = {
  ...common,
  architectures: ['OlmoeForCausalLM'],
  model_type: 'olmoe',
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
}

/**
 * The keys of config.json that decide what is computed, as the models were published (huggingface.co). `M` has the sizes
 * of the preset M, and `tiny` is for tests, both with the layers of OLMoE.
 */
const models: Readonly<Record<string, Record<string, unknown> & { readonly num_hidden_layers: number }>> = {
  'olmoe-1b-7b': {
    ...olmoe,
    hidden_size: 2048,
    intermediate_size: 1024,
    num_hidden_layers: 16,
    num_attention_heads: 16,
    num_key_value_heads: 16,
    num_experts: 64,
    num_experts_per_tok: 8,
    vocab_size: 50_304,
  },
  M: {
    ...olmoe,
    hidden_size: 512,
    intermediate_size: 2048,
    num_hidden_layers: 6,
    num_attention_heads: 8,
    num_key_value_heads: 8,
    num_experts: 32,
    num_experts_per_tok: 1,
    vocab_size: 8192,
  },
  tiny: {
    ...olmoe,
    hidden_size: 64,
    intermediate_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 2,
    num_experts: 4,
    num_experts_per_tok: 2,
    vocab_size: 512,
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

const formats = { hf: hfFormat, gguf: ggufFormat }

interface Flags {
  readonly out: string
  readonly layers?: number
  readonly format: keyof typeof formats
  readonly dtype: ExportDtype
}

async function write(name: string, { out, layers, format, dtype }: Flags): Promise<void> {
  const published = models[name] as (typeof models)[string]
  const { model } = modelOf({ ...published, num_hidden_layers: layers ?? published.num_hidden_layers })
  const { check, prepare } = formats[format]
  check(model, dtype)
  const folder = await NewFolder.begin(out)
  const runtime = await createRuntime({ threads: 1 })
  try {
    const [weights, tokenizer] = [randomWeights(model), bytesTokenizer()]
    const { files } = await prepare({ config: { ...runSchema.parse({}), model }, weights, tokenizer, runtime, dtype })
    await folder.write(files)
    await folder.finish()
    const size = files.reduce((sum, file) => sum + file.bytes, 0)
    process.stdout.write(`${out}: ${count(describeModel(model).parameters)} parameters, ${bytes(size)}\n`)
  } catch (error) {
    await folder.discard()
    throw error
  } finally {
    await runtime.close()
  }
}

const NORMALS = 2 ** 20 + 7

/**
 * Norms are 1, and matrices normal with the deviation 1/√rows, so that activations keep their scale. All tensors share a
 * list of normal numbers, from different places on: numbers of their own would take hours.
 */
function randomWeights(model: ModelConfig): Weights {
  const normals = new Float32Array(NORMALS)
  randomFor(1, 'random-folder').truncatedNormal(normals, 1)
  const tensors = new Map(
    parameterSpecs(model)
      .flatMap(tensorsOf)
      .map((tensor, i) => [tensor.name, { ...tensor, i }]),
  )
  const find = (name: string) => {
    const tensor = tensors.get(name)
    if (!tensor) throw new Error(`internal: no parameter ${name}`)
    return tensor
  }
  return {
    shape: (name) => find(name).shape,
    async read(name) {
      const { shape, init, i } = find(name)
      const values = new Float32Array(sizeOf(shape))
      if (typeof init === 'string') return values.fill(init === 'ones' ? 1 : 0)
      for (let at = 0, from = (i * 7919) % NORMALS; at < values.length; from = 0) {
        const part = normals.subarray(from, from + values.length - at)
        values.set(part, at)
        at += part.length
      }
      const scale = 1 / Math.sqrt(init.fanIn)
      return values.map((value) => value * scale)
    },
  }
}

/** The tensors of a parameter by their names in checkpoints, where every expert is a tensor. */
const tensorsOf = ({ name, shape, init, stacked }: ParameterSpec) =>
  stacked
    ? Array.from({ length: shape[0] as number }, (_, e) => ({ name: expertName(name, e), shape: shape.slice(1), init }))
    : [{ name, shape, init }]

await runCommand(
  new Command('npx tsx bench/generation/random-folder.ts')
    .description('Writes a model of published shapes with random weights.')
    .addArgument(new Argument('<model>', 'the published model').choices(Object.keys(models)))
    .requiredOption('--out <folder>', 'folder to create')
    .addOption(new Option('--format <name>', 'format of the files').choices(Object.keys(formats)).default('hf'))
    .addOption(new Option('--dtype <type>', 'how weights are stored').choices(exportDtypes).default('bf16'))
    .addOption(
      numberOption(
        '--layers <n>',
        'number of layers (default: as many as the published model)',
        ranges.positiveInteger,
      ),
    )
    .action(write),
)
