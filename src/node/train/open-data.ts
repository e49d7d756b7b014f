/** Opens the text of a training: the first rank reads it before the other ranks do. */
import { join } from 'node:path'
import { option, UsageError, wording } from '../../core/errors.ts'
import { sumOverRanks } from '../../engine/contract/ranks.ts'
import type { TrainingReplay } from '../../train/data/batches.ts'
import type { Dataset } from '../../train/data/dataset.ts'
import { fromFirst, refuseDifferences, together } from '../../train/run/agreement.ts'
import { MissingText } from '../data/sources/files.ts'
import { tokenizerFromJson } from '../data/tokenizer/native-tokenizer.ts'
import { openRunData } from '../run/session.ts'
import { openReplay } from './open-replay.ts'
import type { Training } from './training.ts'

/** What a training reads: its text, and the routes that it replays, if it does. */
export interface TrainingText {
  readonly data: Dataset
  readonly replay: TrainingReplay | null
}

/** The text, equal on all ranks; null if any rank was asked to stop meanwhile. @param saved As in `OpenedRun`. */
export async function openText(training: Training, saved: string | null): Promise<TrainingText | null> {
  const data = await openData(training, saved)
  if (!data) return null
  training.cleanup.defer(() => data.close())
  return { data, replay: await openReplay(training.config, data, training.options) }
}

async function openData({ config, options, ranks }: Training, saved: string | null): Promise<Dataset | null> {
  const { directory, resume, signal, onEvent } = options
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
  let ofFirst: Dataset | null = null
  const tokenizer = await fromFirst(ranks, async () => {
    ofFirst = await open(saved)
    return ofFirst?.tokenizer.json ?? null
  })
  const data = tokenizer === null ? null : await together(ranks, () => ofFirst ?? open(tokenizer))
  // A rank that was asked to stop has no text.
  const [missing] = await sumOverRanks(ranks, Float64Array.of(data ? 0 : 1))
  if (missing !== 0) {
    await data?.close()
    return null
  }
  await refuseDifferences(ranks, { 'the text': data?.hash ?? '' })
  return data
}
