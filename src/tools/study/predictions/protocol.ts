/** The protocol of a study (`predictions.ts`), whose predictions are checked against its questions and arms. */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { UsageError } from '../../../core/errors.ts'
import { nearestName } from '../../../core/text/nearest.ts'
import type { Question } from '../contract.ts'
import { requireArm } from '../grid/questions.ts'
import type { Specification } from '../grid/specification.ts'
import { settingsHashOf } from '../results/keys.ts'
import type { Prediction, Protocol } from './predictions.ts'

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
