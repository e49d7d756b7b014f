/** The text that a trained model is measured on: the text that its run held out, or any other text as a whole. */
import { formatValue } from '../../core/config/problems.ts'
import { option, UsageError, wording } from '../../core/errors.ts'
import { openRunData } from '../../node/run/session.ts'
import type { Dataset } from '../../train/data/dataset.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import { importedData } from '../../train/run/run-state.ts'
import type { TrainedModel } from './trained-model.ts'

/**
 * Opens the text; the caller must close it.
 * @param source Other text, all of which is held out; undefined for the held-out text of the run.
 * @throws UsageError if the model was trained elsewhere and no text is named, or the text cannot be used; the
 * reason of `signal` when it is aborted
 */
export async function openEvaluationText(
  { directory, config, tokenizer, trainedOn }: TrainedModel,
  source: string | readonly string[] | undefined,
  { onMessage = () => {}, signal }: { readonly onMessage?: OnMessage; readonly signal?: AbortSignal },
): Promise<Dataset> {
  if (source === undefined && trainedOn === importedData)
    throw new UsageError(
      wording`no held-out text: the model in ${formatValue(directory)} was trained elsewhere (name the text to evaluate on: ${option('source', 'sotu')})`,
    )
  const named = source ?? config.data.source
  const data = await openRunData(
    { ...config, data: { ...config.data, source: typeof named === 'string' ? named : [...named] } },
    {
      directory,
      tokenizer,
      onProgress: (message) => onMessage({ kind: 'prepare', message }),
      onNotice: (message) => onMessage({ kind: 'notice', message }),
      holdOutAll: source !== undefined,
      ...(signal && { signal }),
    },
  )
  if (source === undefined && data.hash !== trainedOn) {
    const message = 'the text has changed since the run was trained: text that is held out now may have been trained on'
    onMessage({ kind: 'warning', message })
  }
  return data
}
