/**
 * A model of another library, from its files as they are: nothing is converted or copied. One of our tensors is read at a
 * time. Here is the folder in Hugging Face's layout; `gguf/` has the GGUF file.
 */
import { join, resolve } from 'node:path'
import { type Fields, isFields } from '../../core/config/fields.ts'
import { parseInput } from '../../core/config/problems.ts'
import { type RunConfig, runSchema } from '../../core/config/run-config.ts'
import { option, UsageError, wording } from '../../core/errors.ts'
import type { ModelConfig } from '../../core/model/config.ts'
import { tokenizerFromJson } from '../../node/data/tokenizer/native-tokenizer.ts'
import type { TextRules } from '../../train/data/tokenizer/text-rules.ts'
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import { modelOf } from './architectures/config-json.ts'
import type { TheirTensor } from './architectures/contract.ts'
import { type OurTensor, type Source, sourcesOf } from './architectures/ours.ts'
import { openTensors, readForeignTokenizer, type StoredTensor, type StoredTensors } from './foreign-folder.ts'
import { readForeignRules } from './foreign-rules.ts'
import { matchTensors } from './match.ts'
import { readTensor } from './read-tensor.ts'

export interface ForeignModel {
  /** `model_type` of config.json, or the architecture of a GGUF file. */
  readonly architecture: string
  /** The model with its longest sequence. */
  readonly model: ModelConfig
  /** The tensors that its files must have. */
  readonly theirs: readonly TheirTensor[]
  /** tokenizer.json. */
  readonly tokenizer: string
  /** Name of its file in the folder of the model; null if the tokenizer is in the file of the model. */
  readonly tokenizerIn: string | null
  /** Rules for texts; undefined if the rules of the tokenizer hold. */
  readonly rules: TextRules | undefined
  /** Contradictions of its files, as sentences. */
  readonly notices: readonly string[]
  /** Keys of config.json that Choir does not know. */
  readonly ignoredKeys: readonly string[]
  /** Sections of a run's configuration besides `model`. */
  readonly run: Fields
  /** Opens the files with tensors. @throws UsageError if they have another format; RunError if a file is damaged */
  open(): Promise<StoredTensors>
}

/** Default limit of the sequence, because attention needs memory that grows with the square of the sequence. */
const DEFAULT_SEQUENCE = 1024

/** Whether the contents of a config.json belong to a run of Choir. Older runs have their settings one level deeper. */
export const isRunConfig = (fields: Fields): boolean =>
  fields.model_type === undefined && (isFields(fields.model) || isFields(fields.config))

/**
 * Reads everything but the weights.
 * @param fields Contents of config.json.
 * @throws UsageError if there is no model that Choir computes; RunError if a file is damaged
 */
export async function readForeignModel(folder: string, fields: Fields): Promise<ForeignModel> {
  const { model, architecture, ignored } = modelOf(fields)
  const tokenizer = await readForeignTokenizer(folder)
  return {
    architecture: architecture.type,
    model,
    theirs: architecture.tensors(model),
    tokenizer,
    tokenizerIn: 'tokenizer.json',
    ...(await readForeignRules(folder, fields, tokenizer, model.vocabulary)),
    ignoredKeys: ignored,
    run: { data: { tokenizer: { kind: 'file', path: resolve(folder, 'tokenizer.json') } } },
    open: () => openTensors(folder),
  }
}

/** The longest sequence that Choir computes with a model: `given`, or the longest of the model, at most 1,024. */
export function sequenceOf(longest: number, given: number | undefined): number {
  if (given !== undefined && given > longest)
    throw new UsageError(
      wording`invalid ${option('sequence')}: ${given} (expected at most ${longest}, the model's longest sequence)`,
    )
  return given ?? Math.min(longest, DEFAULT_SEQUENCE)
}

/** @throws UsageError if the tokenizer has more tokens than the model */
export function openForeignTokenizer(
  path: string,
  { tokenizer: json, rules, tokenizerIn }: Pick<ForeignModel, 'tokenizer' | 'rules' | 'tokenizerIn'>,
  vocabulary: number,
): Tokenizer {
  const where = tokenizerIn === null ? path : join(path, tokenizerIn)
  const tokenizer = tokenizerFromJson(json, where, rules)
  if (tokenizer.vocabulary > vocabulary)
    throw new UsageError(
      `${where} has ${tokenizer.vocabulary} tokens but the model has ${vocabulary} (is it that of another ` +
        'model? Special tokens that were only added to the file can be removed from its added_tokens)',
    )
  return tokenizer
}

/** The configuration of a run with the model. One sequence at a time is evaluated, since the model may be large. */
export function foreignRunConfig(run: Fields): RunConfig {
  const train = isFields(run.train) ? run.train : { batch: 8, microBatches: 8 }
  return parseInput(runSchema, { ...run, train }, 'configuration')
}

/** The weights of a model in open files. */
export interface ForeignWeights {
  readonly stored: ReadonlyMap<string, StoredTensor>
  /** Names of tensors that the model does not use. */
  readonly ignored: readonly string[]
  /**
   * The numbers of one of our tensors.
   * @param from The name of our tensor in the tables of the architecture, if it is another.
   * @throws RunError naming the tensor and the place of a number that is NaN or infinite
   */
  read(tensor: OurTensor, from?: string): Promise<Float32Array>
  /** The types of the tensors from which a tensor of ours is made. @param from As in `read`. */
  typesOf(from: string): ReadonlySet<string>
  close(): Promise<void>
}

/**
 * Opens the files of weights, and compares their tensors with those of the model.
 * @param folder The folder for messages.
 * @throws UsageError if the weights have another format; RunError if a file or a tensor is missing, unknown or damaged
 */
export async function openForeignWeights(
  folder: string,
  { theirs, model, open }: Pick<ForeignModel, 'theirs' | 'model' | 'open'>,
): Promise<ForeignWeights> {
  const files = await open()
  const { tensors: stored, close } = files
  try {
    const ignored = matchTensors(folder, theirs, files, model.tied)
    const sources = sourcesOf(theirs)
    const read = (tensor: OurTensor, from = tensor.name) =>
      readTensor(tensor, sources.get(from) as readonly Source[], stored)
    const typesOf = (from: string) =>
      new Set((sources.get(from) ?? []).map(({ theirs }) => (stored.get(theirs.name) as StoredTensor).entry.dtype))
    return { stored, ignored, read, typesOf, close }
  } catch (error) {
    await close()
    throw error
  }
}
