/** `--format onnx`: a folder as transformers.js reads it, with the whole model as one graph. */
import { join } from 'node:path'
import { option, UsageError, wording } from '../../../../core/errors.ts'
import { headWidthOf, type ModelConfig } from '../../../../core/model/config.ts'
import { version } from '../../../../core/version.ts'
import type { ExportSource, Format } from '../contract.ts'
import { jsonFile, specialIds, tokenizerFiles } from '../text-files.ts'
import { OPSET, onnxFiles } from './builder.ts'
import { onnxModel } from './model.ts'

const FOLDER = 'onnx'

export const onnxFormat: Format = {
  check(_, dtype) {
    if (dtype !== 'float32')
      throw new UsageError(
        wording`invalid ${option('dtype')}: "${dtype}" (expected float32 with ${option('format', 'onnx')}: CPUs compute the graph in float32)`,
      )
  },
  async prepare({ config: { model }, weights, tokenizer }) {
    const graph = await onnxFiles(onnxModel(model, weights), { producer: `choir ${version()}` })
    const isExternal = graph.length > 1
    return {
      architecture: 'an ONNX graph of its own',
      reason: `every model that generates text is one: ${OPSET_TEXT}`,
      files: [
        jsonFile('config.json', configOf(model, tokenizer, isExternal)),
        ...tokenizerFiles(tokenizer, model.sequence),
        ...graph.map((file) => ({ ...file, name: `${FOLDER}/${file.name}` })),
      ],
      usage: USAGE,
      async readBack(folder, tokens) {
        const path = join(folder, FOLDER, 'model.onnx')
        const { onnxLogits } = await import('./read.ts')
        const logits = await onnxLogits(path, model, tokens, stepsOf(tokens.length))
        return { reader: 'ONNX Runtime, in steps with the cache', logits }
      },
    }
  },
}

const OPSET_TEXT = `standard ops of opset ${OPSET}, with a cache of keys and values`

/** Numbers of tokens of the steps that are read back: a prompt of half the tokens, then one token after the other. */
const stepsOf = (length: number): number[] => {
  const prompt = Math.ceil(length / 2)
  return [prompt, ...Array.from({ length: length - prompt }, () => 1)]
}

/**
 * transformers.js reads the shape of the cache from config.json, in the terms of a `model_type` that it knows; the
 * computation is in the graph. Llama's terms fit every model.
 */
function configOf(model: ModelConfig, tokenizer: ExportSource['tokenizer'], isExternal: boolean) {
  return {
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    vocab_size: model.vocabulary,
    hidden_size: model.width,
    num_hidden_layers: model.layers,
    num_attention_heads: model.heads,
    num_key_value_heads: model.keyValueHeads ?? model.heads,
    head_dim: headWidthOf(model),
    max_position_embeddings: model.sequence,
    ...specialIds(tokenizer),
    'transformers.js_config': { dtype: 'fp32', ...(isExternal && { use_external_data_format: true }) },
  }
}

const USAGE = `\
\`config.json\` describes the shape of the cache alone, in Llama's terms; what is computed is in \`onnx/model.onnx\`.

\`\`\`js
import { env, pipeline } from '@huggingface/transformers'
env.localModelPath = '/path/to/the/parent/of/this/folder'
const generate = await pipeline('text-generation', 'name-of-this-folder', { dtype: 'fp32' })
console.log(await generate('The', { max_new_tokens: 40 }))
\`\`\`
`
