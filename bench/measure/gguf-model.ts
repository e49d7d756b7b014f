/** A GGUF file, as far as a comparison of programs that read it needs to know it. */
import { UsageError } from '../../src/core/errors.ts'
import { count } from '../../src/core/text/numbers.ts'
import { DiskFile } from '../../src/node/run/checkpoint/tensor-files.ts'
import { readGgufHeader } from '../../src/use/foreign/gguf/header.ts'
import type { WeightFormat } from '../../src/use/infer/quantized/weight-format.ts'

export interface GgufModel {
  readonly path: string
  /** Its architecture, parameters and type, such as `olmoe, 6.92 B parameters, Q4_0`. */
  readonly name: string
  /** Format of the weights in Choir. */
  readonly weights: WeightFormat
  readonly vocabulary: number
  /** Tokens of a context. */
  readonly sequence: number
}

/** The format that takes about as many bits in Choir, by the type of the matrices. */
const formats: Readonly<Record<string, WeightFormat>> = {
  F32: 'float32',
  F16: 'bf16',
  BF16: 'bf16',
  Q8_0: 'int8',
  Q4_0: 'int4',
}

/** Choir reads a GGUF file with a sequence of at most this many tokens. */
const MAX_SEQUENCE = 1024

/** Reads the header of a file. @throws UsageError if it is not a GGUF file with weights that Choir reads */
export async function readGgufModel(path: string): Promise<GgufModel> {
  const file = await DiskFile.open(path)
  try {
    const { metadata, tensors } = await readGgufHeader(file)
    const sizes = new Map<string, number>()
    for (const { dtype, shape } of tensors.values())
      sizes.set(dtype, (sizes.get(dtype) ?? 0) + shape.reduce((product, side) => product * side, 1))
    const [type = 'absent'] = [...sizes.keys()].sort((a, b) => (sizes.get(b) as number) - (sizes.get(a) as number))
    const weights = formats[type]
    const architecture = String(metadata.get('general.architecture'))
    const context = metadata.get(`${architecture}.context_length`)
    const vocabulary = tensors.get('token_embd.weight')?.shape[0]
    if (weights === undefined || typeof context !== 'number' || vocabulary === undefined)
      throw new UsageError(
        `invalid file: ${path} (expected a language model whose weights are ${Object.keys(formats).join(', ')}; these are ${type})`,
      )
    const parameters = [...sizes.values()].reduce((sum, size) => sum + size, 0)
    const name = `${architecture}, ${count(parameters)} parameters, ${type}`
    return { path, name, weights, vocabulary, sequence: Math.min(MAX_SEQUENCE, context) }
  } finally {
    await file.close()
  }
}
