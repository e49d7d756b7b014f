/** `--format gguf`: one file for llama.cpp, if llama.cpp has an architecture that computes the model. */
import { join } from 'node:path'
import { option, UsageError, wording } from '../../../../core/errors.ts'
import { sizeOf } from '../../../../core/graph/shape.ts'
import type { ModelConfig } from '../../../../core/model/config.ts'
import { parameterSpecs } from '../../../../core/model/parameters.ts'
import { architectures } from '../../../foreign/architectures/config-json.ts'
import type { TheirTensor } from '../../../foreign/architectures/contract.ts'
import { readGgufModel } from '../../../foreign/gguf/gguf-model.ts'
import {
  type GgufTensorOptions,
  ggufTensorsOf,
  ROTARY_DIVISORS,
  rotaryDivisors,
} from '../../../foreign/gguf/tensors.ts'
import { type Chosen, chooseArchitecture, featuresOf } from '../choose.ts'
import { type ExportDtype, type Format, isBlockDtype } from '../contract.ts'
import { BLOCK, bytesOfBlock, bytesOfDtype, encode, encodeBlocks } from '../encode.ts'
import { importedLogits } from '../logits.ts'
import { gatherTensor, type Weights } from '../weights.ts'
import { architectureMetadata, ggufNames, isInterleaved, llamaObjection, needsHead } from './architecture.ts'
import { type GgufTensor, type GgufValue, ggufFile } from './file.ts'
import { tokenizerMetadata } from './tokenizer.ts'

/** Values of `general.file_type`. */
const fileTypes: Readonly<Record<ExportDtype, number>> = { float32: 0, f16: 1, q4_0: 2, q8_0: 7, bf16: 32 }

const inLlamaCpp = architectures.filter(({ type }) => type in ggufNames)

export const ggufFormat: Format = {
  check(model) {
    choose(model, noWeights(model))
  },
  async prepare({ config: { model }, weights, tokenizer, runtime, dtype }) {
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
        const path = join(folder, FILE)
        return importedLogits(runtime, path, await readGgufModel(path), tokens)
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

/** The tensors of a model as they are stored. */
function ggufTensors(
  model: ModelConfig,
  weights: Weights,
  { dtype, ...options }: GgufTensorOptions & { readonly dtype: ExportDtype },
): GgufTensor[] {
  const scaling = model.rotaryScaling?.kind === 'llama3' ? [divisors(model)] : []
  return [...ggufTensorsOf(model, options).map((theirs) => stored(theirs, weights, dtype)), ...scaling]
}

/** Whether a tensor stays float32: llama.cpp keeps vectors and routers in float32. */
const isKeptWhole = ({ name, shape }: TheirTensor): boolean => shape.length === 1 || name.includes('ffn_gate_inp')

/** The type of a tensor. Rows that are not whole blocks are f16, as in llama.cpp's own quantization. */
function typeOf(theirs: TheirTensor, dtype: ExportDtype): ExportDtype {
  if (isKeptWhole(theirs)) return 'float32'
  return isBlockDtype(dtype) && (theirs.shape.at(-1) as number) % BLOCK !== 0 ? 'f16' : dtype
}

function stored(theirs: TheirTensor, weights: Weights, dtype: ExportDtype): GgufTensor {
  const type = typeOf(theirs, dtype)
  const { name, shape } = theirs
  const size = sizeOf(shape)
  const byteLength = isBlockDtype(type) ? (size / BLOCK) * bytesOfBlock[type] : size * bytesOfDtype[type]
  const read = async () => {
    const values = await gatherTensor(theirs, weights)
    return isBlockDtype(type) ? encodeBlocks(values, type, name) : encode(values, type, name)
  }
  return { name, shape, type, byteLength, read }
}

function divisors(model: ModelConfig): GgufTensor {
  const factors = rotaryDivisors(model)
  const read = async () => new Uint8Array(factors.buffer)
  return { name: ROTARY_DIVISORS, shape: [factors.length], type: 'float32', byteLength: factors.byteLength, read }
}

/** Weights for choosing an architecture, which reads no numbers. */
function noWeights(model: ModelConfig): Weights {
  const shapes = new Map(parameterSpecs(model).map(({ name, shape }) => [name, shape]))
  return {
    shape: (name) => shapes.get(name) ?? [],
    read: () => Promise.reject(new Error('internal: weights are read before the model is loaded')),
  }
}
