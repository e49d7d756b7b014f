/** What a run holds open besides its files: the runtime, the data and the memory of the model. */
import { type Dataset, openDataset, type Tokenizer } from '../data/index.ts'
import { createRuntime, type Runtime } from '../runtime/index.ts'
import type { RunConfig } from './config.ts'

export async function openRuntime({ runtime }: Pick<RunConfig, 'runtime'>, profile = false): Promise<Runtime> {
  const { device, threads, math } = runtime
  return createRuntime({ device, math, profile, ...(threads !== undefined && { threads }) })
}

/** What is to be known of the numbers of a run before they are read. */
export function noticesOf(runtime: Runtime, { moe }: RunConfig['model']): string[] {
  const notices = runtime.notice === undefined ? [] : [runtime.notice]
  if (moe?.router === 'expert-choice') notices.push(EXPERT_CHOICE_LEAK)
  return notices
}

const EXPERT_CHOICE_LEAK =
  'with model.moe.router=expert-choice experts choose among all tokens of a batch, later ones included: losses ' +
  'are better than a model is that must write one token after the other. Generating takes the top k of each token'

/** The data of a run; with the run's own tokenizer when it has one already. `whole`: all is held out. */
export function openRunData(
  { model, data }: Pick<RunConfig, 'model' | 'data'>,
  options: { tokenizer?: Tokenizer; whole?: boolean; signal?: AbortSignal; say: (message: string) => void },
): Promise<Dataset> {
  return openDataset(data, {
    vocabulary: model.vocabulary,
    ...(options.whole ? { whole: true } : { sequence: model.sequence }),
    onProgress: options.say,
    ...(options.tokenizer && { tokenizer: options.tokenizer }),
    ...(options.signal && { signal: options.signal }),
  })
}
