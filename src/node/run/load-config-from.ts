/** Loads the configuration of a run that begins with the weights of another run, or forks from it. */
import { join } from 'node:path'
import { differences } from '../../core/config/differences.ts'
import { type Fields, isFields } from '../../core/config/fields.ts'
import { merge } from '../../core/config/preset-fields.ts'
import { presets } from '../../core/config/presets.ts'
import { parseInput } from '../../core/config/problems.ts'
import { type RunConfig, runSchema, type TrainConfig } from '../../core/config/run-config.ts'
import { UsageError } from '../../core/errors.ts'
import { sizes } from '../../core/model/config/limits.ts'
import { isRunText, runTextPath } from '../../train/data/sources/run-text.ts'
import { readFields } from './load-config.ts'
import { withoutReplaced } from './plugins/kinds.ts'
import { loadSourceConfig } from './weights-source.ts'

/**
 * Loads a configuration. Settings of `model`, `data` and `train` that are not given come from the other run, except that
 * `train.microBatches` follows another `train.batch`, and `data.replay` is for the text of the run only. `parallel` and `runtime` have their defaults, except in a fork,
 * which computes as the other run does.
 * @param run Directory of the other run.
 * @param source, sets Preset or file, and assignments, as for `loadConfig`.
 * @throws UsageError listing every problem, or if there is no such run
 */
export async function loadConfigFrom(
  run: string,
  source: string | undefined,
  sets: readonly string[],
  option: 'from' | 'fork' = 'from',
): Promise<RunConfig> {
  return configOver(run, await readFields(source, sets, presets), option)
}

/** Does the same as {@link loadConfigFrom}, with fields that are already read. */
export async function configOver(run: string, given: Fields, option: 'from' | 'fork' = 'from'): Promise<RunConfig> {
  const { model, data, train, ...machine } = await loadSourceConfig(run, option)
  refuseOtherTokenizer(run, data.tokenizer, isFields(given.data) ? given.data.tokenizer : undefined)
  const ofRun = {
    model,
    data: { ...data, source: textOf(run, data.source), replay: hasOtherText(given) ? null : data.replay },
    train: { ...train, microBatches: microBatchesOf(train, given) },
    ...(option === 'fork' && machine),
  }
  return parseInput(runSchema, merge(withoutReplaced(ofRun, given), given), 'configuration')
}

/**
 * The number of micro-batches with which the given batch has micro-batches of the size in the run, or the next smaller
 * size that divides the batch: a run is divided because larger micro-batches need too much memory. A run that is not
 * divided stays so.
 */
function microBatchesOf({ batch: before, microBatches }: TrainConfig, { train, parallel }: Fields): number {
  const { data: batch = before } = sizes.batch.safeParse(isFields(train) ? train.batch : undefined)
  if (microBatches === 1 || batch === before) return microBatches
  const shards = isFields(parallel) && typeof parallel.shards === 'number' ? parallel.shards : 1
  const sequences = Math.max(1, Math.floor(batch / shards))
  let parts = Math.ceil((batch * microBatches) / before)
  while (parts < sequences && sequences % parts !== 0) parts++
  return Math.min(parts, sequences)
}

/** Whether a text is given, of which the record of routes of the other run is none. */
const hasOtherText = ({ data }: Fields): boolean => isFields(data) && data.source !== undefined

/** The data source of a run, with paths to text in the directory of the run. */
function textOf(run: string, source: RunConfig['data']['source']): RunConfig['data']['source'] {
  const found = (entry: string) => (isRunText(entry) ? join(run, runTextPath(entry)) : entry)
  return typeof source === 'string' ? found(source) : source.map(found)
}

function refuseOtherTokenizer(run: string, of: RunConfig['data']['tokenizer'], given: unknown): void {
  if (!isFields(given)) return
  const [other] = differences({ ...of }, merge({ ...of }, given), 'data.tokenizer')
  if (!other) return
  throw new UsageError(
    `invalid ${other.field}: ${JSON.stringify(other.to)} (the tokenizer of ${run} comes with its weights, since they ` +
      'know no other tokens; leave out data.tokenizer)',
  )
}
