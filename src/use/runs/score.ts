/** Scores texts with a model: a checkpoint of a run, or a model of another library. */
import { UsageError } from '../../core/errors.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import { runNotices } from '../../train/run/notices.ts'
import type { NamedItem, Scorable } from '../infer/scoring/scorable.ts'
import { type Score, type ScoreOptions, scoreItems } from '../infer/scoring/score.ts'
import { Scorer } from '../infer/scoring/scorer.ts'
import { loadModel, type ModelChoice, type TrainedModel } from './trained-model.ts'

/** Number of items that share passes; their scores come together. */
const ITEMS = 256

export interface ScoreRunOptions extends ScoreOptions, ModelChoice {
  readonly onMessage?: OnMessage
}

export interface ScoredItem {
  readonly item: Scorable
  readonly score: Score
}

/**
 * Scores a stream of items in their order. The first item is read before the model is loaded, and not more than a few
 * hundred are in memory.
 */
export async function* scoreRun(
  directory: string,
  items: AsyncIterable<NamedItem>,
  options: ScoreRunOptions = {},
): AsyncGenerator<ScoredItem, void> {
  const onMessage = options.onMessage ?? (() => {})
  let open: { readonly model: TrainedModel; readonly scorer: Scorer } | undefined
  try {
    for await (const some of inGroups(items, ITEMS)) {
      open ??= await openScorer(directory, options, onMessage)
      yield* scored(open.scorer, some, options)
    }
  } finally {
    open?.scorer.release()
    await open?.model.close()
  }
}

/** Scores items together or, if one of them is refused, one after the other up to this one. */
async function* scored(
  scorer: Scorer,
  items: readonly NamedItem[],
  options: ScoreOptions,
): AsyncGenerator<ScoredItem, void> {
  let scores: readonly Score[]
  try {
    scores = await scoreItems(scorer, items, options)
  } catch (error) {
    if (!(error instanceof UsageError) || items.length === 1) throw error
    for (const item of items) yield* scored(scorer, [item], options)
    return
  }
  for (const [i, score] of scores.entries()) yield { item: (items[i] as NamedItem).item, score }
}

async function openScorer(directory: string, options: ScoreRunOptions, onMessage: OnMessage) {
  const model = await loadModel(directory, options, onMessage)
  try {
    const scorer = new Scorer(model)
    for (const message of runNotices(model.runtime, model.config, [])) onMessage({ kind: 'notice', message })
    return { model, scorer }
  } catch (error) {
    await model.close()
    throw error
  }
}

/** Groups of items. If reading an item fails, the items before it come first. */
async function* inGroups<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<T[], void> {
  let group: T[] = []
  let failure: { readonly error: unknown } | undefined
  try {
    for await (const item of items) {
      group.push(item)
      if (group.length < size) continue
      yield group
      group = []
    }
  } catch (error) {
    failure = { error }
  }
  if (group.length > 0) yield group
  if (failure) throw failure.error
}
