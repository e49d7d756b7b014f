/** Opens the text of a training: the first rank reads it before the other ranks do. */
import { join } from 'node:path'
import type { RunConfig } from '../../core/config/run-config.ts'
import { option, UsageError, wording } from '../../core/errors.ts'
import { type Ranks, sumOverRanks } from '../../engine/contract/ranks.ts'
import type { Dataset } from '../../train/data/dataset.ts'
import { fromFirst, refuseDifferences, together } from '../../train/run/agreement.ts'
import { MissingText } from '../data/sources/files.ts'
import { tokenizerFromJson } from '../data/tokenizer/native-tokenizer.ts'
import { openRunData } from '../run/session.ts'
import type { TrainOptions } from './options.ts'

/**
 * The data of a run, equal on all ranks; null if any rank was asked to stop meanwhile.
 * @param saved The run's tokenizer.json; null if the run has none yet.
 */
export async function openData(
  config: RunConfig,
  { directory, resume, signal, onEvent, ranks = null }: TrainOptions,
  saved: string | null,
): Promise<Dataset | null> {
  const open = async (tokenizer: string | null): Promise<Dataset | null> => {
    try {
      return await openRunData(config, {
        directory,
        onProgress: (message) => onEvent?.({ kind: 'prepare', message }),
        onNotice: (message) => onEvent?.({ kind: 'notice', message }),
        ...(tokenizer !== null && { tokenizer: tokenizerFromJson(tokenizer, join(directory, 'tokenizer.json')) }),
        ...(signal && { signal }),
      })
    } catch (error) {
      if (signal?.aborted) return null
      if (resume && error instanceof MissingText)
        throw new UsageError(
          wording`${error.wording}; if the text of the run has moved, resume with its path now: ${option('data.source', 'PATH')}`,
        )
      throw error
    }
  }
  let data: Dataset | null = null
  const tokenizer = await fromFirst(ranks, async () => {
    data = await open(saved)
    return data?.tokenizer.json ?? null
  })
  if (tokenizer !== null && ranks && ranks.rank > 0) data = await together(ranks, () => open(tokenizer))
  else if (tokenizer !== null) await together(ranks, () => null)
  const opened = data as Dataset | null
  const isComplete = opened !== null && tokenizer !== null
  if (!(await isCompleteEverywhere(ranks, isComplete))) {
    await opened?.close()
    return null
  }
  await refuseDifferences(ranks, { 'the text': opened?.hash ?? '' })
  return opened
}

async function isCompleteEverywhere(ranks: Ranks | null, isComplete: boolean): Promise<boolean> {
  const missing = Float64Array.of(isComplete ? 0 : 1)
  return (await sumOverRanks(ranks, missing))[0] === 0
}
