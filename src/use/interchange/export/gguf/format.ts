/** `--format gguf`: one file for llama.cpp, if llama.cpp has an architecture that computes the model. */
import { join } from 'node:path'
import { option, UsageError, wording } from '../../../../core/errors.ts'
import type { ModelConfig } from '../../../../core/model/config.ts'
import { parameterSpecs } from '../../../../core/model/parameters.ts'
import { architectures } from '../../../foreign/architectures/config-json.ts'
import { type Chosen, chooseArchitecture, featuresOf } from '../choose.ts'
import type { ExportDtype, Format } from '../contract.ts'
import { checkGenerates } from '../generating.ts'
import type { Weights } from '../weights.ts'
import { architectureMetadata, ggufNames, isInterleaved, llamaObjection, needsHead } from './architecture.ts'
import { ggufLogits } from './evaluate.ts'
import { type GgufValue, ggufFile } from './file.ts'
import { OpenGguf } from './read.ts'
import { ggufTensors } from './tensors.ts'
import { tokenizerMetadata } from './tokenizer.ts'

/** Values of `general.file_type`. */
const fileTypes: Readonly<Record<ExportDtype, number>> = { float32: 0, f16: 1, q4_0: 2, q8_0: 7, bf16: 32 }

const inLlamaCpp = architectures.filter(({ type }) => type in ggufNames)

export const ggufFormat: Format = {
  check(model) {
    checkGenerates(model)
    choose(model, noWeights(model))
  },
  async prepare({ config: { model }, weights, tokenizer, dtype }) {
    const { architecture, variant } = choose(model, weights)
    const { type } = architecture
    const name = ggufNames[type] as string
    const text = (value: string): GgufValue => ({ type: 'string', value })
    const metadata: Record<string, GgufValue> = {
      'general.architecture': text(name),
      'general.name': text('a model trained with Choir'),
      'general.file_type': { type: 'uint32', value: fileTypes[dtype] },
      ...architectureMetadata(type, variant.model),
      ...tokenizerMetadata(tokenizer, model.vocabulary),
    }
    const options = { dtype, isInterleaved: isInterleaved(type), needsHead: needsHead(type) }
    return {
      architecture: `${name} of llama.cpp`,
      reason: [`it has ${featuresOf(variant.model)}`, ...variant.changes].join('; '),
      files: [ggufFile(FILE, metadata, ggufTensors(variant.model, variant.weights, options))],
      usage: USAGE,
      async readBack(folder, tokens) {
        const file = await OpenGguf.open(join(folder, FILE))
        try {
          return {
            reader: 'plain loops over the file, by the rules of llama.cpp',
            logits: await ggufLogits(file, tokens),
          }
        } finally {
          await file.close()
        }
      },
    }
  },
}

const FILE = 'model.gguf'

const USAGE = `\
\`\`\`sh
llama-cli -m model.gguf -p "The" -n 40
\`\`\`
`

/** Chooses the architecture of llama.cpp. @throws UsageError if none of them computes this model */
function choose(model: ModelConfig, weights: Weights): Chosen {
  const chosen = chooseArchitecture(model, weights, inLlamaCpp, llamaObjection)
  if ('architecture' in chosen) return chosen
  throw new UsageError(
    wording`cannot export as GGUF: no architecture of llama.cpp computes this model. The nearest, ${chosen.nearest}, differs ${wording`in:\n  ${chosen.differences.join('\n  ')}\nUse ${option('format', 'onnx')}, which holds every model, or ${option('format', 'hf')}`}`,
  )
}

/** Weights for choosing an architecture, which reads no numbers. */
function noWeights(model: ModelConfig): Weights {
  const shapes = new Map(parameterSpecs(model).map(({ name, shape }) => [name, shape]))
  return {
    shape: (name) => shapes.get(name) ?? [],
    read: () => Promise.reject(new Error('internal: weights are read before the model is loaded')),
  }
}
