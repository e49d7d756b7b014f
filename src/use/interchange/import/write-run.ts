/** Writes a run directory with one checkpoint, tensor by tensor. At any instant there is a whole directory or none. */
import { join } from 'node:path'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import { sha256 } from '../../../core/sha256.ts'
import { version } from '../../../core/version.ts'
import { NewFolder } from '../../../node/run/new-folder.ts'
import { checkpointsOf } from '../../../node/run/run-directory.ts'
import { GENERATION } from '../../../node/run/tokenizer-file.ts'
import type { TextRules } from '../../../train/data/tokenizer/text-rules.ts'
import { folderName, writeAll, writeDescription } from '../../../train/run/checkpoint/description.ts'
import { type OutputFile, shardFiles, shardsOf } from '../../../train/run/checkpoint/safetensors.ts'
import type { State } from '../../../train/run/run-state.ts'
import type { OurTensor } from '../../foreign/architectures/ours.ts'
import { bytesOfDtype, encode } from '../export/encode.ts'
import { jsonFile, textFile } from '../export/text-files.ts'

const SHARD_BYTES = 4 * 2 ** 30

export interface NewRun {
  readonly config: RunConfig
  /** tokenizer.json. */
  readonly tokenizer: string
  /** Contents of generation.json; undefined if the rules of the tokenizer hold. */
  readonly rules: TextRules | undefined
  /** Hash of the text that the model was trained on. */
  readonly data: string
  readonly tensors: readonly StoredAs[]
  /** Reads the numbers of a tensor. It is called once for each tensor, in order. */
  read(tensor: OurTensor): Promise<Float32Array>
  /** Contents of import.json. */
  readonly report: object
}

/** A tensor of the new run, and the type in which it is stored. */
export interface StoredAs extends OurTensor {
  readonly dtype: StoredDtype
}
export type StoredDtype = 'F32' | 'BF16' | 'F16'

/** Bytes of a tensor in the run. */
export const storedBytes = ({ shape, dtype }: StoredAs): number => sizeOf(shape) * bytesOfDtype[encoded[dtype]]

const encoded = { F32: 'float32', BF16: 'bf16', F16: 'f16' } as const

/**
 * Writes the run.
 * @throws UsageError if `out` is a file or not empty; RunError if the disk is full or not writable; errors of `read`
 */
export async function writeRun(
  out: string,
  { config, tokenizer, rules, data, tensors, read, report }: NewRun,
): Promise<void> {
  const folder = await NewFolder.begin(out)
  try {
    const needed = tensors.reduce((sum, tensor) => sum + storedBytes(tensor), 0)
    const checkpoint = join(checkpointsOf(''), folderName(0))
    const write = (file: OutputFile) => folder.writeFile({ ...file, name: join(checkpoint, file.name) }, needed)
    const stored = tensors.map((tensor) => {
      const { name, dtype } = tensor
      const byteLength = storedBytes(tensor)
      return { ...tensor, byteLength, read: async () => encode(await read(tensor), encoded[dtype], name) }
    })
    const model = await writeAll(shardFiles('model', shardsOf(stored, SHARD_BYTES)), write)
    const state: State = { data, updates: 0, nonFiniteInRow: 0, tokenizer: await sha256(tokenizer) }
    await writeDescription(0, [{ model, optimizer: [] }], state, write)
    await folder.write([
      textFile('tokenizer.json', tokenizer),
      ...(rules ? [jsonFile(GENERATION, rules)] : []),
      jsonFile('import.json', report),
      jsonFile('config.json', { version: version(), created: new Date().toISOString(), ...config }),
    ])
    await folder.finish()
  } catch (error) {
    await folder.discard()
    throw error
  }
}
