/** The model that is imported: a folder in Hugging Face's layout, a GGUF file, or the directory of a run. */
import { formatValue } from '../../../core/config/problems.ts'
import { option, UsageError, wording } from '../../../core/errors.ts'
import { newestCheckpoint } from '../../../node/run/checkpoint/checkpoint.ts'
import { loadRunConfig } from '../../../node/run/load-config.ts'
import { checkpointsOf } from '../../../node/run/run-directory.ts'
import { readTextRules } from '../../../node/run/tokenizer-file.ts'
import { importedData, parseState } from '../../../train/run/run-state.ts'
import { ourTensors } from '../../foreign/architectures/ours.ts'
import { openTensors, readForeignConfig, readForeignTokenizer } from '../../foreign/foreign-folder.ts'
import { type ForeignModel, isRunConfig, readForeignModel } from '../../foreign/foreign-model.ts'
import { isGgufFile, readGgufModel } from '../../foreign/gguf/gguf-model.ts'

export interface Origin extends ForeignModel {
  /** Hash of the text that the model was trained on. */
  readonly data: string
}

/**
 * Opens the model in a folder or a GGUF file.
 * @param isUpcycled Whether experts are made of the model: a run can be imported for that only.
 * @throws UsageError if there is no model that Choir computes
 */
export async function openOrigin(folder: string, isUpcycled: boolean): Promise<Origin> {
  if (await isGgufFile(folder)) return { ...(await readGgufModel(folder)), data: importedData }
  const fields = await readForeignConfig(folder)
  if (isRunConfig(fields)) return runOrigin(folder, isUpcycled)
  return { ...(await readForeignModel(folder, fields)), data: importedData }
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
    tokenizer: await readForeignTokenizer(directory),
    tokenizerIn: 'tokenizer.json',
    rules: await readTextRules(directory),
    notices: [],
    // Frozen parameters are not taken over, because their names are names of the dense model.
    run: { ...run, train: { ...run.train, freeze: [] } },
    data: parseState(checkpoint.state, checkpoint.path).data,
    ignoredKeys: [],
    open: () => openTensors(checkpoint.path),
  }
}
