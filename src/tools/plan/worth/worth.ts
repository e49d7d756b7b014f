/**
 * Answers the question "dense or experts?" for a model and a number of tokens: the difference in loss that a law
 * expects of each number of experts, the tokens at which experts begin to pay, and their cost in memory and time.
 * Outside the range of the law, and for models whose tokens use more than one expert, it makes no prediction of its own
 * and cites published work.
 */

import type { ModelConfig } from '../../../core/model/config.ts'
import { describeModel } from '../../../core/model/describe.ts'
import { count, fixed } from '../../../core/text/numbers.ts'
import { type BreakEven, breakEven, type Forecast, forecast } from '../../law/forecast.ts'
import { differenceAt, lossAt } from '../../law/joint-law.ts'
import { outside, tokensAt } from '../../law/law.ts'
import type { LawFile } from '../../law/law-file.ts'
import { type Citation, citations, publishedLaw, publishedLawCovers } from '../../law/published.ts'
import type { Plan } from '../plan.ts'
import { beyondTopOne, otherThanRecipe, withExperts } from './variants.ts'

export interface WorthRow {
  /** Number of experts; 1 for the dense model. */
  readonly experts: number
  readonly parameters: number
  /** Difference in loss to the dense model, with its 80 % interval; null outside the range of the law. */
  readonly forecast: Forecast | null
  readonly breakEven: BreakEven | null
  /**
   * Difference in loss to a dense model that trains for the same time; null without a prediction, or if the training of
   * that dense model is beyond the law.
   */
  readonly atEqualTime: number | null
  /**
   * Difference in loss by the published law (`src/tools/law/published.ts`), if that covers the model and the law of the
   * study does not; otherwise null.
   */
  readonly published: number | null
  /** Memory of a device; null if the planner finds no layout. */
  readonly memoryBytes: number | null
  /** Time of a step; null if the planner finds no layout. */
  readonly stepSeconds: number | null
  readonly fits: boolean
}

export interface Worth {
  readonly tokens: number
  /** All active parameters of the dense model. */
  readonly activeParameters: number
  /** Active parameters that laws count: all but tables that are only looked up. */
  readonly active: number
  readonly law: Pick<LawFile, 'study' | 'runs' | 'corpus' | 'source' | 'sizes' | 'experts'>
  /** The reason why the law does not answer, in words; null if it does. */
  readonly beyond: string | null
  /** Settings and vocabulary that differ from the runs of the law. */
  readonly otherSettings: readonly string[]
  readonly rows: readonly WorthRow[]
  /** Published work, cited if the law does not answer. */
  readonly citations: readonly Citation[]
  readonly advice: string
}

/**
 * @param tokens tokens of the whole training
 * @param planOf plans the training of a variant of the model
 */
export async function worth(
  model: ModelConfig,
  tokens: number,
  law: LawFile,
  planOf: (variant: ModelConfig) => Promise<Plan>,
): Promise<Worth> {
  const dense = withExperts(model, 1, law)
  if (!dense) throw new Error('internal: the model has no dense variant')
  const { activeParameters, computingParameters: active } = describeModel(dense)
  const where = { active, tokens, experts: 1 }
  const otherThanTopOne = beyondTopOne(model)
  const beyond = otherThanTopOne ?? beyondWords(law, where)
  const rows: WorthRow[] = []
  for (const experts of [1, ...law.experts]) {
    const variant = withExperts(model, experts, law)
    if (!variant) continue
    const plan = await planOf(variant)
    const predicted = plan.best[0] ?? plan.rejected[0]?.prediction
    const cost = {
      parameters: describeModel(variant).parameters,
      memoryBytes: predicted?.memory.deviceBytes ?? null,
      stepSeconds: predicted?.time.stepSeconds ?? null,
      fits: plan.best.length > 0,
    }
    const slower = cost.stepSeconds !== null && rows[0]?.stepSeconds ? cost.stepSeconds / rows[0].stepSeconds : null
    const point = { ...where, experts }
    // The published law counts tables too.
    const published = { ...point, active: activeParameters }
    rows.push({
      experts,
      ...cost,
      forecast: beyond === null ? forecast(law, point) : null,
      breakEven: beyond === null && experts > 1 ? breakEven(law, point) : null,
      atEqualTime: beyond === null && slower !== null ? atEqualTime(law, point, slower) : null,
      published:
        beyond !== null && otherThanTopOne === null && publishedLawCovers(published)
          ? differenceAt(publishedLaw, published)
          : null,
    })
  }
  return {
    tokens,
    activeParameters,
    active,
    law: {
      study: law.study,
      runs: law.runs,
      corpus: law.corpus,
      source: law.source,
      sizes: law.sizes,
      experts: law.experts,
    },
    beyond,
    otherSettings: otherSettings(model, law),
    rows,
    citations: beyond === null ? [] : citations,
    advice: adviceOf(rows, beyond, otherThanTopOne === null ? 'this size' : 'more than one expert for a token'),
  }
}

function beyondWords(law: LawFile, point: { active: number; tokens: number; experts: number }): string | null {
  const [first, last] = [law.sizes[0], law.sizes.at(-1)]
  switch (outside(law, point)) {
    case 'size':
      return `its ${count(point.active)} active parameters are outside the law, which was fitted to ${count(first?.active)} to ${count(last?.active)}`
    case 'tokens': {
      const [low, high] = tokensAt(law, point.active)
      return `${count(point.tokens)} tokens are outside the law, which was fitted to ${count(low)} to ${count(high)} at this size`
    }
    default:
      return null
  }
}

/** Loss with experts minus loss of a dense model that trains `slower` times as many tokens in the same time. */
function atEqualTime(
  law: LawFile,
  point: { active: number; tokens: number; experts: number },
  slower: number,
): number | null {
  const dense = { ...point, experts: 1, tokens: point.tokens * slower }
  if (outside(law, dense) !== null) return null
  return lossAt(law.coefficients, point) - lossAt(law.coefficients, dense)
}

function otherSettings(model: ModelConfig, law: LawFile): string[] {
  const { vocabulary } = model
  const other = vocabulary === law.vocabulary ? [] : [`model.vocabulary: ${vocabulary} (the law: ${law.vocabulary})`]
  return [...other, ...otherThanRecipe(model, law)]
}

/** Of several numbers of experts that pay, the advice is the smallest that has this share of the largest gain. */
const ENOUGH = 0.8

/** @param uncovered the case that published work does not cover if no row has a published difference */
function adviceOf(rows: readonly WorthRow[], beyond: string | null, uncovered: string): string {
  if (beyond !== null) {
    const published = rows.filter((row) => row.published !== null && row.experts > 1)
    const best = smallestWithGain(published, ({ published }) => published ?? 0)
    const expects = !best
      ? `published work does not cover ${uncovered} either: compare the arms in a study on your text`
      : `the published law, of other text and another vocabulary, would choose ${best.experts} experts (${nats(best.published)} nats a token)`
    return `No answer of our own: ${beyond}. As a guess, ${expects}.`
  }
  const sparse = rows.filter(({ experts, fits }) => experts > 1 && fits)
  const paying = sparse.filter(({ forecast }) => forecast !== null && forecast.high < 0)
  const best = smallestWithGain(paying, ({ forecast }) => forecast?.difference ?? 0)
  const [dense] = rows
  if (best?.forecast) {
    const { difference, low, high } = best.forecast
    const cost = [
      ratioText(best.memoryBytes, dense?.memoryBytes, 'the memory'),
      ratioText(best.stepSeconds, dense?.stepSeconds, 'the time of a step'),
    ]
    return `Experts: ${best.experts} of them, of which a token uses one, lower the loss by about ${nats(-difference)} nats a token (80 %: ${nats(-high)} to ${nats(-low)}), for ${cost.filter((one) => one !== null).join(' and ')}${timeNote(best.atEqualTime)}`
  }
  if (sparse.length === 0) return 'Dense: no number of experts fits into the memory.'
  const soonest = sparse
    .flatMap(({ experts, breakEven }) => (breakEven?.tokens ? [{ experts, tokens: breakEven.tokens }] : []))
    .toSorted((a, b) => a.tokens - b.tokens)[0]
  const from = soonest
    ? ` Break-even of ${soonest.experts} experts is expected at ${count(soonest.tokens)} tokens.`
    : ''
  return sparse.every(({ forecast }) => forecast !== null && forecast.low > 0)
    ? `Dense: experts are expected to have the higher loss with so few tokens.${from}`
    : `Undecided: for no number of experts is the interval of the difference below zero, so take the dense model, which is cheaper.${from}`
}

/** The end of the advice: what is left of the gain against a dense model that trains for the same time. */
function timeNote(atEqualTime: number | null): string {
  if (atEqualTime === null) return '.'
  return atEqualTime > 0
    ? ', while a dense model that trains for as long would have the lower loss.'
    : `; against a dense model that trains for as long, by about ${nats(-atEqualTime)}.`
}

function smallestWithGain(rows: readonly WorthRow[], difference: (row: WorthRow) => number): WorthRow | undefined {
  const least = Math.min(0, ...rows.map(difference))
  // If each doubling of the experts gains the same, 16 of them have exactly four fifths of the gain of 32.
  const enough = ENOUGH * least + 1e-9
  return rows.find((row) => difference(row) < 0 && difference(row) <= enough)
}

function ratioText(value: number | null, dense: number | null | undefined, of: string): string | null {
  return value === null || !dense ? null : `${fixed(value / dense, 2)} × ${of}`
}

const nats = (value: number | null): string => fixed(value, 3)
