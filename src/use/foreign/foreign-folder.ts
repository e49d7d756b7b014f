/** Reads a folder in Hugging Face's layout: configuration, tokenizer, and the tensors of its safetensors files. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Fields, isFields } from '../../core/config/fields.ts'
import { formatValue } from '../../core/config/problems.ts'
import { RunError, UsageError } from '../../core/errors.ts'
import { parseJson } from '../../core/text/json.ts'
import { DiskFile, shardNames } from '../../node/run/checkpoint/tensor-files.ts'
import { errorCode } from '../../node/system/disk.ts'
import { CONFIG_BYTES, JSON_BYTES, readText } from '../../node/system/read-text.ts'
import { type Entry, readHeader, type TensorFile } from '../../train/run/checkpoint/read-safetensors.ts'

/** A tensor in an open file. */
export interface StoredTensor {
  readonly file: TensorFile
  readonly entry: Entry
}

/** The tensors of a folder, or of a file, by name. */
export interface StoredTensors {
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** Types that are read from such files. */
  readonly types: readonly string[]
  /** The part of the files that describes the model, for messages. */
  readonly description: string
  close(): Promise<void>
}

const expected = 'expected a folder with config.json, model.safetensors and tokenizer.json'
const converted =
  'convert them: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER) of transformers writes safetensors'

/**
 * The contents of a config.json that says what a model of another library is. Undefined if the folder has no such file,
 * as the directory of a run.
 */
export async function foreignConfigIn(folder: string): Promise<Fields | undefined> {
  try {
    const config: unknown = parseJson(await readText(join(folder, 'config.json'), CONFIG_BYTES))
    return isFields(config) && typeof config.model_type === 'string' ? config : undefined
  } catch {
    return undefined
  }
}

/**
 * The contents of config.json.
 * @throws UsageError if there is no such folder, or it holds another format; RunError if the file is not JSON
 */
export async function readForeignConfig(folder: string): Promise<Fields> {
  const names = await namesIn(folder)
  if (!names.includes('config.json')) throw new UsageError(noConfig(folder, names))
  const path = join(folder, 'config.json')
  try {
    const config: unknown = parseJson(await readText(path, CONFIG_BYTES))
    if (isFields(config)) return config
  } catch (error) {
    throw new RunError(`cannot read ${path}: ${(error as Error).message}`)
  }
  throw new RunError(`cannot read ${path}: it is not a JSON object`)
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    const entry = await stat(folder)
    if (entry.isDirectory()) return await readdir(folder)
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR')
      throw new UsageError(`no such folder: ${formatValue(folder)} (${expected})`)
    throw new RunError(`cannot read ${folder}: ${(error as Error).message}`)
  }
  throw new UsageError(`invalid folder: ${formatValue(folder)} is a file (${expected}; give the folder that it is in)`)
}

const ggufAdvice = 'a GGUF file is given by its own path'

function noConfig(folder: string, names: readonly string[]): string {
  const has = (pattern: RegExp) => names.some((name) => pattern.test(name))
  const advice = has(/\.gguf$/i)
    ? `; ${ggufAdvice}`
    : has(/^adapter_config\.json$/)
      ? '; it holds an adapter: merge it into its base model first'
      : ''
  const found = names.length === 0 ? 'is empty' : 'has no config.json'
  return `invalid folder: ${formatValue(folder)} ${found} (${expected}${advice})`
}

/**
 * The text of tokenizer.json.
 * @throws UsageError if there is no such file; the message says how to make it
 */
export async function readForeignTokenizer(folder: string): Promise<string> {
  const path = join(folder, 'tokenizer.json')
  return readText(path, JSON_BYTES).catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw new RunError(`cannot read ${path}: ${(error as Error).message}`)
    throw new UsageError(
      `no tokenizer.json in ${formatValue(folder)} (make it from tokenizer.model or vocab files: ` +
        'AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of transformers)',
    )
  })
}

/**
 * Opens `<stem>.safetensors` or its shards. Only headers are read.
 * @throws UsageError if the folder has weights in another format only; RunError if a file is missing or damaged
 */
export async function openTensors(folder: string, stem = 'model'): Promise<StoredTensors> {
  const names = await readdir(folder)
  const has = (pattern: RegExp) => names.find((name) => pattern.test(name))
  if (!has(/\.safetensors(\.index\.json)?$/)) {
    const other = has(/\.(bin|pt|pth|ckpt)$/) ?? has(/\.(h5|msgpack|gguf)$/)
    const advice = other === undefined ? '' : `; it holds ${other}: ${converted}`
    throw new UsageError(`no ${stem}.safetensors in ${formatValue(folder)} (${expected}${advice})`)
  }
  const files: DiskFile[] = []
  const close = async () => {
    await Promise.all(files.map((file) => file.close()))
  }
  try {
    const tensors = new Map<string, StoredTensor>()
    for (const name of await shardNames(folder, stem)) {
      const file = await DiskFile.open(join(folder, name))
      files.push(file)
      for (const [tensor, entry] of await readHeader(file)) {
        const other = tensors.get(tensor)
        if (other) throw new RunError(`${folder} holds ${tensor} twice, in ${other.file.path} and ${file.path}`)
        tensors.set(tensor, { file, entry })
      }
    }
    return { tensors, types: ['F32', 'BF16', 'F16'], description: 'config.json', close }
  } catch (error) {
    await close()
    throw error
  }
}
