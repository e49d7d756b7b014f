/** `--format hf`: a folder for transformers and vLLM. */
import { readFile } from 'node:fs/promises'
import type { Fields } from '../../../../core/config/fields.ts'
import { option, UsageError, wording } from '../../../../core/errors.ts'
import { sizeOf } from '../../../../core/graph/shape.ts'
import type { ModelConfig } from '../../../../core/model/config.ts'
import { routedModules } from '../../../../core/model/parameters.ts'
import { hashTableOf } from '../../../../core/model/routing/hash.ts'
import { packageFile } from '../../../../core/package-file.ts'
import {
  indexFile,
  type OutputFile,
  type StoredTensor,
  shardFiles,
  shardsOf,
} from '../../../../train/run/checkpoint/safetensors.ts'
import { architectures, modelOf } from '../../../foreign/architectures/config-json.ts'
import type { TheirTensor } from '../../../foreign/architectures/contract.ts'
import { openTensors, readForeignConfig } from '../../../foreign/foreign-folder.ts'
import { type Chosen, chooseArchitecture, featuresOf, type NoneFits, type Objection } from '../choose.ts'
import {
  type ExportDtype,
  type ExportSource,
  type Format,
  isBlockDtype,
  type NumberDtype,
  type PreparedExport,
} from '../contract.ts'
import { bytesOfDtype, encode } from '../encode.ts'
import { importedLogits } from '../logits.ts'
import { jsonFile, specialIds, textFile, tokenizerFiles } from '../text-files.ts'
import { gatherTensor, type Weights } from '../weights.ts'
import { choirConfig, choirTensors } from './choir-architecture.ts'
import { pythonLogits } from './python.ts'

/** Architectures whose code is in transformers. */
const inTransformers = architectures.filter(({ type }) => type !== 'deepseek')

/** The objection that a program computes something else than config.json says. */
const trapOf: Objection = ({ type }, { moe }) => {
  const divides = moe !== null && moe.k > 1 && (moe.renormalize || moe.softmax === 'after')
  return type === 'olmoe' && divides ? 'model.moe.renormalize: true (vLLM does not divide the gates of olmoe)' : null
}

export const hfFormat: Format = {
  check(_, dtype) {
    numberDtype(dtype)
  },
  async prepare(source) {
    const chosen = chooseArchitecture(source.config.model, source.weights, inTransformers, trapOf)
    return 'architecture' in chosen ? prepareKnown(source, chosen) : prepareOwn(source, chosen)
  },
}

/** @throws UsageError for a type that transformers has not */
function numberDtype(dtype: ExportDtype): NumberDtype {
  if (!isBlockDtype(dtype)) return dtype
  throw new UsageError(
    wording`invalid ${option('dtype')}: "${dtype}" (expected float32, bf16 or f16 with ${option('format', 'hf')}; ${wording`${dtype} is a type of ${option('format', 'gguf')})`}`,
  )
}

function prepareKnown(source: ExportSource, { architecture, config, variant }: Chosen): PreparedExport {
  const { tokenizer, runtime } = source
  const dtype = numberDtype(source.dtype)
  const tensors = architecture.tensors(variant.model).map((theirs) => storedTensor(theirs, variant.weights, dtype))
  return {
    architecture: architecture.className,
    reason: [`it has ${featuresOf(variant.model)}`, ...variant.changes].join('; '),
    files: filesOf(source, { ...config, ...otherKeys(tokenizer, dtype) }, tensors),
    usage: KNOWN_USAGE,
    async readBack(folder, tokens) {
      const { model, architecture } = modelOf(await readForeignConfig(folder))
      const files = { model, theirs: architecture.tensors(model), open: () => openTensors(folder) }
      return importedLogits(runtime, folder, files, tokens)
    },
  }
}

async function prepareOwn(source: ExportSource, none: NoneFits): Promise<PreparedExport> {
  const { config, weights, tokenizer } = source
  const dtype = numberDtype(source.dtype)
  const { model } = config
  const tensors = [...choirTensors(model).map((theirs) => storedTensor(theirs, weights, dtype)), ...hashTables(model)]
  return {
    architecture: 'ChoirForCausalLM, with its own modeling_choir.py',
    reason: `no architecture of transformers computes it; the nearest, ${none.nearest}, differs in ${none.differences.join(', ')}`,
    files: [
      ...filesOf(source, { ...choirConfig(model), ...otherKeys(tokenizer, dtype) }, tensors),
      await pythonFile('configuration_choir.py'),
      await pythonFile('modeling_choir.py'),
    ],
    usage: OWN_USAGE,
    readBack: (folder, tokens) => pythonLogits(folder, model, tokens),
  }
}

/** Maximum number of bytes of tensors in a file, as in save_pretrained. */
const SHARD_BYTES = 5e9

function filesOf(
  { config, tokenizer }: ExportSource,
  configJson: Fields,
  tensors: readonly StoredTensor[],
): OutputFile[] {
  const shards = shardsOf(tensors, SHARD_BYTES)
  const files = shardFiles('model', shards)
  const tensorsOf = shards.map((shard) => shard.map(({ name, byteLength }) => ({ name, bytes: byteLength })))
  const places = Object.fromEntries(files.map(({ name }, i) => [name, tensorsOf[i] ?? []]))
  return [
    jsonFile('config.json', configJson),
    ...files,
    ...(files.length > 1 ? [indexFile('model', places)] : []),
    ...tokenizerFiles(tokenizer, config.model.sequence),
  ]
}

const storedTypes: Readonly<Record<NumberDtype, string>> = { float32: 'F32', bf16: 'BF16', f16: 'F16' }

const storedTensor = (theirs: TheirTensor, weights: Weights, dtype: NumberDtype): StoredTensor => ({
  name: theirs.name,
  dtype: storedTypes[dtype],
  shape: theirs.shape,
  byteLength: bytesOfDtype[dtype] * sizeOf(theirs.shape),
  read: async () => encode(await gatherTensor(theirs, weights), dtype, theirs.name),
})

const dtypeNames: Readonly<Record<NumberDtype, string>> = { float32: 'float32', bf16: 'bfloat16', f16: 'float16' }

/** Other keys of config.json. `dtype` is for transformers 5, `torch_dtype` for earlier versions; vLLM reads both. */
const otherKeys = (tokenizer: ExportSource['tokenizer'], dtype: NumberDtype) => ({
  ...specialIds(tokenizer),
  use_cache: true,
  dtype: dtypeNames[dtype],
  torch_dtype: dtypeNames[dtype],
})

/** Tables of the experts of every token id, int32 [V, k], for each layer of a hash router. */
function hashTables(model: ModelConfig): StoredTensor[] {
  const { moe, vocabulary, layers } = model
  if (moe?.router !== 'hash') return []
  return Array.from({ length: layers }, (_, layer) =>
    routedModules(model, layer).map((module): StoredTensor => {
      const part = module === 'ffn' ? 'ffn' : `attention.${module}`
      const read = async () => new Uint8Array(hashTableOf(model, layer, module).buffer)
      const shape = [vocabulary, moe.k]
      return {
        name: `model.layers.${layer}.${part}.router.table`,
        dtype: 'I32',
        shape,
        byteLength: 4 * vocabulary * moe.k,
        read,
      }
    }),
  ).flat()
}

/** Reads a file in the folder of the package, which is as far from the sources as from the built program. */
const pythonFile = async (name: string): Promise<OutputFile> =>
  textFile(name, await readFile(packageFile(`python/${name}`), 'utf8'))

const KNOWN_USAGE = `\
\`\`\`python
from transformers import pipeline
print(pipeline("text-generation", "/path/to/this/folder")("The", max_new_tokens=40))
\`\`\`

vLLM: \`vllm serve /path/to/this/folder\`.
`

const OWN_USAGE = `\
\`modeling_choir.py\` is the model in plain PyTorch.

\`\`\`python
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained("/path/to/this/folder", trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained("/path/to/this/folder")
print(tokenizer.decode(model.generate(**tokenizer("The", return_tensors="pt"), max_new_tokens=40)[0]))
\`\`\`

Without transformers: \`python3 modeling_choir.py . --tokens 1,2,3\` prints logits. vLLM does not load it.
`
