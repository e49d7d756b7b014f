/** The questions of a study: their contrasts and claims, checked against its arms. */

import type { RunConfig } from '../../../core/config/run-config.ts'
import { UsageError } from '../../../core/errors.ts'
import { activatedExperts } from '../../../core/model/config/moe-config.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { nearestName } from '../../../core/text/nearest.ts'
import { type Control, counts, namedIn } from '../claim.ts'
import type { Prediction, Protocol, Question } from '../contract.ts'
import { fairRule } from '../held-out.ts'
import type { Settings, Specification } from '../specification.ts'
import { keyOf, settingsHashOf } from './keys.ts'
import { flatten, valueAt } from './settings.ts'

/**
 * The questions of a study, with their contrasts as pairs.
 * @throws UsageError for an unknown arm, arms that cannot be compared or be in one trend, and a trend over a field without
 *   numbers
 */
export function questionsOf(
  specification: Specification,
  names: readonly string[],
  configs: ReadonlyMap<string, RunConfig>,
): Question[] {
  const [first = '', ...others] = names
  const given =
    specification.questions ??
    (others.length === 0
      ? []
      : [
          {
            title: `Every arm against ${first}`,
            about: '',
            view: 'sweep' as const,
            baseline: first,
            arms: others,
          },
        ])
  // Sections before those of the questions have these ids, so no question may have one of them.
  const seen = new Set(['summary', 'predictions'])
  return given.map(({ title, about, view, ...rest }, i) => {
    const path = `questions.${i}`
    const claim = 'claim' in rest ? rest.claim : undefined
    const claims = claim ? [claim] : (('claims' in rest ? rest.claims : undefined) ?? [])
    if (rest.baseline !== undefined) requireArm(rest.baseline, names, `${path}.baseline of "${title}"`)
    const pairs =
      'contrasts' in rest && rest.contrasts
        ? rest.contrasts
        : (rest.arms ?? []).map((arm) => [rest.baseline ?? '', arm] as [string, string])
    const field = `${path}.${rest.arms === undefined ? 'contrasts' : 'arms'}`
    const distinct = [...new Map(pairs.map((pair, j) => [JSON.stringify(pair), { pair, j }])).values()]
    for (const {
      pair: [baseline, arm],
      j,
    } of distinct) {
      const where = `${field}.${j} of "${title}"`
      for (const name of [baseline, arm]) requireArm(name, names, where)
      requireComparable(baseline, arm, configs, where)
      const [one, other] = [configs.get(baseline) as RunConfig, configs.get(arm) as RunConfig]
      const problem = view === 'map' ? mapProblem(one.model, other.model) : null
      if (problem !== null)
        throw new UsageError(`invalid ${where}: "${arm}" cannot be compared with "${baseline}": ${problem}`)
    }
    for (const [j, one] of claims.entries()) {
      const own = `${path}.${claim ? 'claim' : `claims.${j}`}`
      for (const { field: below, arms } of namedIn(one)) {
        const where = `${own}.${below} of "${one.statement}"`
        for (const name of arms) requireArm(name, names, where)
        const [baseline, arm] = arms
        if (arm !== undefined) requireComparable(baseline, arm, configs, where)
      }
      for (const [k, control] of one.controls.entries())
        requireFairCapacity(control, configs, `${own}.controls.${k}.capacity`)
      if (one.kind === 'trend' || one.kind === 'returns') {
        const ofQuestion = distinct.map(({ pair }) => pair[1])
        const along = one.arms ?? one.contrasts?.map(([, arm]) => arm) ?? ofQuestion
        if (one.arms) requireSameText(one.arms, configs, `${own}.arms of "${one.statement}"`)
        requireNumbers(
          one.over,
          along.map((arm) => configs.get(arm) as RunConfig),
          `${own}.over`,
        )
      }
    }
    return {
      id: uniqueId(title, seen),
      title,
      about,
      view,
      contrasts: distinct.map(({ pair: [baseline, arm] }) => ({ baseline, arm })),
      ...(claims.length > 0 && { claims }),
    }
  })
}

export function requireArm(name: string, names: readonly string[], where: string): void {
  if (names.includes(name)) return
  const near = nearestName(name, names)
  const hint = near === undefined ? '' : `; did you mean "${near}"?`
  const some = names.slice(0, 12).map((other) => `"${other}"`)
  throw new UsageError(
    `unknown arm "${name}" in ${where} (arms: ${some.join(', ')}${names.length > some.length ? ', ...' : ''}${hint})`,
  )
}

/** Losses can be compared only between different arms that train on the same tokens. */
export function requireComparable(a: string, b: string, configs: ReadonlyMap<string, RunConfig>, place: string): void {
  const [one, other] = [configs.get(a) as RunConfig, configs.get(b) as RunConfig]
  const where = `invalid ${place}: "${b}" cannot be compared with "${a}"`
  if (keyOf(one) === keyOf(other)) throw new UsageError(`${where}: they are the same configuration`)
  const tokens = (config: RunConfig): Settings => ({
    'model.sequence': config.model.sequence,
    'train.batch': config.train.batch,
    'train.steps': config.train.steps,
    ...textOf(config),
  })
  const field = firstDifference(tokens(one), tokens(other))
  if (field !== undefined) throw new UsageError(`${where}: ${field} differs, so they do not train on the same tokens`)
}

/** The losses of arms form a trend only if they are losses of the same tokens; the arms may train on more or fewer. */
function requireSameText(arms: readonly string[], configs: ReadonlyMap<string, RunConfig>, place: string): void {
  const [first = '', ...others] = arms
  for (const arm of others) {
    const field = firstDifference(textOf(configs.get(first) as RunConfig), textOf(configs.get(arm) as RunConfig))
    if (field !== undefined)
      throw new UsageError(
        `invalid ${place}: "${arm}" cannot be in a trend with "${first}": ${field} differs, so their losses are not of the same tokens`,
      )
  }
}

/** The settings of the text that a loss is of, and of its tokens. */
const textOf = ({ model, data }: RunConfig): Settings => ({
  'model.vocabulary': model.vocabulary,
  data: { ...data, cache: undefined, order: undefined },
})

const firstDifference = (one: Settings, other: Settings): string | undefined =>
  Object.keys(one).find((field) => JSON.stringify(one[field]) !== JSON.stringify(other[field]))

/** A control may not name a capacity at which its arms are never compared. */
function requireFairCapacity(
  { name, contrast, capacity }: Control,
  configs: ReadonlyMap<string, RunConfig>,
  path: string,
): void {
  const own = contrast.flatMap((arm) => configs.get(arm) ?? [])
  if (capacity !== undefined && fairRule(own, capacity) !== capacity)
    throw new UsageError(
      `invalid ${path} of "${name}": "${capacity}" (expected none: a router of ${contrast.map((arm) => `"${arm}"`).join(' and ')} ` +
        'is sinkhorn, which balances loads in training only, so they are compared without a capacity limit)',
    )
}

/** A trend needs the independent variable as a positive number in at least two arms; others are left out of it. */
function requireNumbers(over: string, configs: readonly RunConfig[], path: string): void {
  if (counts.some((name) => name === over)) return
  const isPositive = (value: unknown) => typeof value === 'number' && value > 0
  if (configs.filter((config) => isPositive(valueAt(config, over.split('.')))).length >= 2) return
  const numbers = configs.flatMap((config) =>
    Object.entries(flatten(config as unknown as Settings, path)).flatMap(([name, value]) =>
      isPositive(value) ? name : [],
    ),
  )
  const near = nearestName(over, [...counts, ...numbers])
  const hint = near === undefined || near === over ? '' : `; did you mean "${near}"?`
  throw new UsageError(
    `invalid ${path}: "${over}" (expected ${counts.join(', ')}, or the path of a setting that is a positive number in at least two arms of the trend${hint})`,
  )
}

function uniqueId(title: string, seen: Set<string>): string {
  const plain =
    title
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-+|(?<!-)-+$/g, '') || 'question'
  let id = plain
  for (let i = 2; seen.has(id); i++) id = `${plain}-${i}`
  seen.add(id)
  return id
}

/**
 * The arms of a question with the view `map`: a dense baseline, and arms that send each token to one expert and have no
 * shared expert. Other arms have no number of experts in the sense of the law, which counts experts that are as large
 * as the feed-forward network of the dense model.
 */

/** Number of experts of an arm on the map, where each token uses one; null if the arm is not on the map. */
export const mapExperts = ({ moe }: ModelConfig): number | null =>
  moe !== null && activatedExperts(moe) === 1 && moe.sharedHidden === 0 ? moe.experts : null

/** The reason why an arm cannot be compared with its baseline on a map; null if it can. */
function mapProblem(baseline: ModelConfig, arm: ModelConfig): string | null {
  if (baseline.moe !== null) return 'the baseline has experts (view map: set model.moe: null for it)'
  if (mapExperts(arm) === null)
    return 'the arm does not use one expert for each token (view map: model.moe.k 1, prototypes 1, sharedHidden 0)'
  return arm.moe?.hidden === baseline.hidden
    ? null
    : `model.moe.hidden is ${arm.moe?.hidden}, and model.hidden of the baseline ${baseline.hidden} (view map: both must be equal, so that both have as many active parameters)`
}

/** The protocol of a study , whose predictions are checked against its questions and arms. */

/**
 * The protocol of a study; its list of predictions is empty if the study has none.
 * @throws UsageError for an unknown question, a question without contrasts, and contrasts that the question does not have
 */
export function protocolOf(
  { predictions = [], seeds, capacity, intervals, tune }: Specification,
  questions: readonly Question[],
  configs: ReadonlyMap<string, RunConfig>,
): Protocol {
  const resolved = predictions.map((prediction, i): Prediction => {
    const question = questionOf(prediction.question, `predictions.${i}.question`, questions)
    const own = question.contrasts.map(({ baseline, arm }) => [baseline, arm] as [string, string])
    for (const [j, pair] of (prediction.contrasts ?? []).entries())
      requireContrast(pair, own, `predictions.${i}.contrasts.${j} of "${question.title}"`, [...configs.keys()])
    return { ...prediction, contrasts: prediction.contrasts ?? own }
  })
  const named = [...new Set(resolved.flatMap(({ contrasts }) => contrasts.flat()))]
  return {
    predictions: resolved,
    seeds,
    capacity,
    ...(intervals && { intervals }),
    ...(tune && { tune }),
    arms: Object.fromEntries(named.map((arm) => [arm, settingsHashOf(configs.get(arm) as RunConfig)])),
  }
}

function questionOf(title: string, path: string, questions: readonly Question[]): Question {
  const [found, other] = questions.filter((one) => one.title === title)
  if (found === undefined) {
    const titles = questions.map((one) => one.title)
    const near = nearestName(title, titles)
    const hint = near === undefined ? '' : `; did you mean "${near}"?`
    throw new UsageError(
      `unknown question "${title}" in ${path} (questions: ${titles.map((one) => `"${one}"`).join(', ') || 'none'}${hint})`,
    )
  }
  if (other !== undefined)
    throw new UsageError(`invalid ${path}: "${title}" (two questions have this title; give them different titles)`)
  if (found.contrasts.length === 0)
    throw new UsageError(
      `invalid ${path}: "${title}" (it has no contrasts, and a prediction is about the differences of contrasts; expected a question with contrasts)`,
    )
  return found
}

function requireContrast(
  [baseline, arm]: readonly [string, string],
  own: readonly (readonly [string, string])[],
  where: string,
  names: readonly string[],
): void {
  for (const name of [baseline, arm]) requireArm(name, names, where)
  if (own.some(([one, other]) => one === baseline && other === arm)) return
  const swapped = own.some(([one, other]) => one === arm && other === baseline)
  const some = own.slice(0, 6).map((pair) => JSON.stringify(pair))
  throw new UsageError(
    `invalid ${where}: ${JSON.stringify([baseline, arm])} (expected a contrast of the question, [baseline, arm]: ` +
      `${some.join(', ')}${own.length > some.length ? ', ...' : ''}${swapped ? `; did you mean ${JSON.stringify([arm, baseline])}?` : ''})`,
  )
}
