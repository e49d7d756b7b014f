/** A model in a GGUF file or in several, from the files as they are. */
import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { formatValue } from '../../../core/config/problems.ts'
import { RunError, UsageError } from '../../../core/errors.ts'
import { DiskFile } from '../../../node/run/checkpoint/tensor-files.ts'
import { errorCode } from '../../../node/system/disk.ts'
import type { Entry } from '../../../train/run/checkpoint/read-safetensors.ts'
import { decodedTypes, decoderOf } from '../decode/decoder.ts'
import type { StoredTensor, StoredTensors } from '../foreign-folder.ts'
import type { ForeignModel } from '../foreign-model.ts'
import { MAGIC } from './header.ts'
import { ggufConfigOf } from './model-config.ts'
import { type GgufPart, readGgufParts } from './parts.ts'
import { ggufTensorsOf, ROTARY_DIVISORS } from './tensors.ts'
import { ggufTokenizerOf } from './tokenizer.ts'

/**
 * Whether a path is that of a GGUF file: of a file that begins so, or a path that ends so and is no folder.
 * @throws UsageError if a path that ends so names no file, or a device or a pipe
 */
export async function isGgufFile(path: string): Promise<boolean> {
  const found = await stat(path).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return null
    throw new RunError(`cannot read ${path}: ${(error as Error).message}`)
  })
  if (found?.isDirectory()) return false
  const isNamedSo = /\.gguf$/i.test(path)
  if (found?.isFile()) return isNamedSo || (await beginsSo(path, found.size))
  if (!isNamedSo) return false
  const problem = found ? 'it is neither a file nor a folder' : 'there is no such file'
  throw new UsageError(`cannot read ${formatValue(path)}: ${problem} (expected a GGUF file)`)
}

/**
 * Reads everything but the weights.
 * @param path The file, or the first of several files.
 * @throws UsageError if there is no model that Choir computes; RunError if a file is damaged
 */
export async function readGgufModel(path: string): Promise<ForeignModel> {
  const { metadata, parts, tensors } = await readGgufParts(path)
  const divisors = async () => {
    const part = parts.find((each) => each.tensors.has(ROTARY_DIVISORS))
    return part ? readVector(part.path, part.tensors.get(ROTARY_DIVISORS) as Entry) : null
  }
  const { name, architecture, model, ignored } = await ggufConfigOf(path, metadata, tensors, divisors)
  const { json, rules } = ggufTokenizerOf(path, metadata, model.vocabulary)
  return {
    architecture: name,
    model,
    theirs: ggufTensorsOf(model, { isInterleaved: architecture.isInterleaved, needsHead: false }),
    tokenizer: json,
    tokenizerIn: null,
    rules,
    notices: [],
    ignoredKeys: ignored,
    run: { data: { tokenizer: { kind: 'file', path: resolve(path) } } },
    open: () => openGguf(parts),
  }
}

async function beginsSo(path: string, size: number): Promise<boolean> {
  if (size < MAGIC.length) return false
  const file = await DiskFile.open(path)
  try {
    const bytes = new Uint8Array(MAGIC.length)
    await file.read(bytes, 0)
    return new TextDecoder().decode(bytes) === MAGIC
  } finally {
    await file.close()
  }
}

async function readVector(path: string, { dtype, shape, begin, end }: Entry): Promise<Float32Array> {
  if (!decodedTypes.includes(dtype) || shape.length !== 1)
    throw new UsageError(`${path}: unsupported ${ROTARY_DIVISORS} of type ${dtype} (supported: F32)`)
  const bytes = new Uint8Array(end - begin)
  const file = await DiskFile.open(path)
  try {
    await file.read(bytes, begin)
  } finally {
    await file.close()
  }
  const values = new Float32Array(shape[0] as number)
  decoderOf(dtype).decode(bytes.buffer, values)
  return values
}

/** Opens the tensors of files whose headers were read. @throws RunError if the size of a file has changed */
async function openGguf(parts: readonly GgufPart[]): Promise<StoredTensors> {
  const files: DiskFile[] = []
  const close = async () => {
    await Promise.all(files.map((file) => file.close()))
  }
  try {
    const all = new Map<string, StoredTensor>()
    for (const { path, tensors } of parts) {
      const file = await DiskFile.open(path)
      files.push(file)
      for (const [name, entry] of tensors) {
        if (entry.end > file.size) throw new RunError(`${path} has changed while it was read: it is shorter`)
        all.set(name, { file, entry: { ...entry, shape: plainShape(name, entry.shape) } })
      }
    }
    return { tensors: all, types: decodedTypes, description: 'metadata', close }
  } catch (error) {
    await close()
    throw error
  }
}

/** The gate of a shared expert is a vector, which some files have as a matrix of one row. */
const plainShape = (name: string, shape: readonly number[]): readonly number[] =>
  name.endsWith('ffn_gate_inp_shexp.weight') && shape.length === 2 && shape[0] === 1 ? shape.slice(1) : shape
