/** GGUF files of a small Mixtral with a SentencePiece tokenizer, whose matrices are stored in any type. */
import { writeFileSync } from 'node:fs'
import { type ModelConfig, modelSchema } from '../../src/core/model/config.ts'
import { ggufTensorsOf } from '../../src/use/foreign/gguf/tensors.ts'
import { sentencePieceMetadata, smallVocabulary } from '../../src/use/foreign/testing/sentencepiece.ts'
import { type GgufValue, ggufFile } from '../../src/use/interchange/export/gguf/file.ts'

/** Numbers of types in files (`ggml_type` in ggml.h). */
const numbers: Readonly<Record<string, number>> = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q5_0: 6,
  Q5_1: 7,
  Q8_0: 8,
  Q2_K: 10,
  Q3_K: 11,
  Q4_K: 12,
  Q5_K: 13,
  Q6_K: 14,
  IQ4_NL: 20,
  IQ4_XS: 23,
  BF16: 30,
}

export const vocabulary = smallVocabulary()

/** Widths are whole blocks of 256 numbers. */
const mixtral: ModelConfig = modelSchema.parse({
  vocabulary: vocabulary.tokens.length,
  layers: 2,
  width: 256,
  heads: 4,
  keyValueHeads: 2,
  hidden: 256,
  sequence: 64,
  activation: 'swiglu',
  embeddingScale: 1,
  moe: { experts: 4, k: 2, hidden: 256, capacity: 'none', renormalize: true },
})

const uint32 = (value: number): GgufValue => ({ type: 'uint32', value })

const metadata: Readonly<Record<string, GgufValue>> = {
  'general.architecture': { type: 'string', value: 'llama' },
  'llama.context_length': uint32(64),
  'llama.embedding_length': uint32(256),
  'llama.block_count': uint32(2),
  'llama.feed_forward_length': uint32(256),
  'llama.attention.head_count': uint32(4),
  'llama.attention.head_count_kv': uint32(2),
  'llama.attention.layer_norm_rms_epsilon': { type: 'float32', value: 1e-5 },
  'llama.rope.dimension_count': uint32(64),
  'llama.expert_count': uint32(4),
  'llama.expert_used_count': uint32(2),
  ...sentencePieceMetadata(vocabulary),
}

export interface TensorBytes {
  readonly dtype: string
  readonly bytes: Uint8Array
}

export interface GgufFileOptions {
  /** Metadata besides those of the model and its tokenizer. */
  readonly metadata?: Readonly<Record<string, GgufValue>>
  /** Names of the tensors in the file; default: all. */
  readonly has?: (name: string) => boolean
}

/**
 * Writes a file.
 * @param bytesOf Returns the type and the bytes of a tensor. Vectors and routers must be F32.
 */
export async function writeMixtral(
  path: string,
  bytesOf: (name: string, shape: readonly number[]) => TensorBytes,
  { metadata: more = {}, has = () => true }: GgufFileOptions = {},
): Promise<void> {
  const tensors = ggufTensorsOf(mixtral, { isInterleaved: true, needsHead: false })
    .filter(({ name }) => has(name))
    .map(({ name, shape }) => ({ name, shape, ...bytesOf(name, shape) }))
  const file = ggufFile(
    'model.gguf',
    { ...metadata, ...more },
    tensors.map(({ bytes, ...rest }) => ({
      ...rest,
      type: 'float32',
      byteLength: bytes.length,
      read: async () => bytes,
    })),
  )
  const all = Buffer.concat(await Promise.all(file.pieces.map(({ read }) => read())))
  // The export has names for few types: the number of the type is after the name and the dimensions.
  for (const { name, shape, dtype } of tensors) {
    const named = Buffer.concat([Buffer.alloc(8), Buffer.from(name)])
    named.writeBigUInt64LE(BigInt(name.length))
    all.writeUInt32LE(numbers[dtype] as number, all.indexOf(named) + named.length + 4 + 8 * shape.length)
  }
  writeFileSync(path, all)
}
