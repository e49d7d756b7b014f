/**
 * A text that is tokenized before a training opens it. Trainings that are compared have the same text and the same
 * tokenizer, so one worker prepares the text and the others take it. It is plain data, which messages to workers keep.
 */
import { isFields } from '../../core/config/fields.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import { UsageError } from '../../core/errors.ts'
import { type TokenizedText, tokenizeFiles } from '../../train/data/memory-dataset.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import { type PageText, placeText } from './page-text.ts'
import type { RunFiles } from './run-files.ts'

/** A text as tokens, for every configuration with the same `data` and the same `model.vocabulary`. */
export interface PreparedText {
  readonly kind: 'prepared'
  readonly source: string
  /** @internal Files of the text in the run directory, by path; empty for a corpus. */
  readonly inRun: RunFiles
  /** @internal The settings that the tokens depend on. */
  readonly settings: string
  /** @internal */
  readonly tokens: TokenizedText
}

export const isPrepared = (text: PageText | PreparedText): text is PreparedText =>
  isFields(text) && 'kind' in text && text.kind === 'prepared'

const settingsOf = ({ data, model }: RunConfig): string => JSON.stringify({ data, vocabulary: model.vocabulary })

/** @throws UsageError for text that is unusable or too short */
export async function prepareText(
  text: PageText,
  config: RunConfig,
  { onMessage, signal }: { readonly onMessage?: OnMessage; readonly signal?: AbortSignal },
): Promise<PreparedText> {
  const { source, files, inRun } = placeText(text)
  const tokens = await tokenizeFiles(files, config.data, {
    vocabulary: config.model.vocabulary,
    onProgress: (message) => onMessage?.({ kind: 'prepare', message }),
    onNotice: (message) => onMessage?.({ kind: 'notice', message }),
    ...(signal && { signal }),
  })
  return { kind: 'prepared', source, inRun, settings: settingsOf(config), tokens }
}

/** @throws UsageError if the text was prepared for other settings */
export function expectPreparedFor({ settings }: PreparedText, config: RunConfig): void {
  if (settings === settingsOf(config)) return
  throw new UsageError(
    `invalid text: it was prepared for ${settings}, and this training has ${settingsOf(config)} ` +
      '(prepare the text again, with the configuration of this training)',
  )
}
