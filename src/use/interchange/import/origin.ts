/** The model that is imported: a folder in Hugging Face's layout, or the directory of a run. */
import { resolve } from 'node:path'
import { type Fields, isFields } from '../../../core/config/fields.ts'
import { formatValue } from '../../../core/config/problems.ts'
import { option, UsageError, wording } from '../../../core/errors.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { newestCheckpoint } from '../../../node/run/checkpoint/checkpoint.ts'
import { loadRunConfig } from '../../../node/run/load-config.ts'
import { checkpointsOf } from '../../../node/run/run-directory.ts'
import { readTextRules } from '../../../node/run/tokenizer-file.ts'
import type { TextRules } from '../../../train/data/tokenizer/text-rules.ts'
import { importedData, parseState } from '../../../train/run/run-state.ts'
import { modelOf } from '../architectures/config-json.ts'
import type { TheirTensor } from '../architectures/contract.ts'
import { ourTensors } from '../architectures/ours.ts'
import { readForeignConfig, readForeignTokenizer } from './foreign-folder.ts'
import { readForeignRules } from './foreign-rules.ts'

export interface Origin {
  readonly architecture: string
  readonly model: ModelConfig
  /** The tensors that its files must have. */
  readonly theirs: readonly TheirTensor[]
  readonly tensorFolder: string
  /** tokenizer.json. */
  readonly tokenizer: string
  /** Rules for texts; undefined if the rules of the tokenizer hold. */
  readonly rules: TextRules | undefined
  /** Contradictions of its files, as sentences. */
  readonly notices: readonly string[]
  /** Sections of the new run's configuration besides `model`. */
  readonly run: Fields
  /** Hash of the text that the model was trained on. */
  readonly data: string
  readonly ignoredKeys: readonly string[]
}

/**
 * Opens the model in a folder.
 * @param isUpcycled Whether experts are made of the model: a run can be imported for that only.
 * @throws UsageError if there is no model that Choir computes
 */
export async function openOrigin(folder: string, isUpcycled: boolean): Promise<Origin> {
  const fields = await readForeignConfig(folder)
  // Older runs have their settings one level deeper.
  if (fields.model_type === undefined && (isFields(fields.model) || isFields(fields.config)))
    return runOrigin(folder, isUpcycled)
  const { model, architecture, ignored } = modelOf(fields)
  const tokenizer = await readForeignTokenizer(folder)
  return {
    architecture: architecture.type,
    model,
    theirs: architecture.tensors(model),
    tensorFolder: folder,
    tokenizer,
    ...(await readForeignRules(folder, fields, tokenizer, model.vocabulary)),
    run: { data: { tokenizer: { kind: 'file', path: resolve(folder, 'tokenizer.json') } } },
    data: importedData,
    ignoredKeys: ignored,
  }
}

async function runOrigin(directory: string, isUpcycled: boolean): Promise<Origin> {
  if (!isUpcycled)
    throw new UsageError(
      wording`invalid folder: ${formatValue(directory)} is a run already (continue it with choir train --from ${directory}, or ${wording`make experts of a dense one with ${option('upcycle')})`}`,
    )
  const { model, ...run } = await loadRunConfig(directory)
  const checkpoint = await newestCheckpoint(checkpointsOf(directory), () => {})
  if (!checkpoint) throw new UsageError(`invalid run: ${formatValue(directory)} has no intact checkpoint`)
  const theirs = ourTensors(model).map(({ name, shape }) => ({
    name,
    shape,
    parts: [{ rows: shape[0] ?? 1, ours: name, at: 0, transposed: false }],
  }))
  return {
    architecture: 'choir',
    model,
    theirs,
    tensorFolder: checkpoint.path,
    tokenizer: await readForeignTokenizer(directory),
    rules: await readTextRules(directory),
    notices: [],
    // Frozen parameters are not taken over, because their names are names of the dense model.
    run: { ...run, train: { ...run.train, freeze: [] } },
    data: parseState(checkpoint.state, checkpoint.path).data,
    ignoredKeys: [],
  }
}
