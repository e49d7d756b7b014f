/** Solves for the open fields of arms that are matched to another arm: see `specification.ts`. */
import { type JsonSchema, jsonSchemaOf } from '../../../core/config/json-schema.ts'
import { presets } from '../../../core/config/presets.ts'
import { formatValue, parseInput, suggestion } from '../../../core/config/problems.ts'
import { type RunConfig, runSchema } from '../../../core/config/run-config.ts'
import { UsageError } from '../../../core/errors.ts'
import { describeModel } from '../../../core/model/describe.ts'
import { percent } from '../../../core/text/numbers.ts'
import { readFields } from '../../../node/run/load-config.ts'
import { setField } from '../../../node/run/set-option.ts'
import { layoutOf } from '../../../train/step/trainer.ts'
import { rankMemory } from '../../plan/local/rank-memory.ts'
import type { Match } from '../contract.ts'
import type { MatchSpecification, Quantity, Settings, Specification } from '../specification.ts'
import { mismatchOf, mismatchText, quantityText } from '../text.ts'
import { requireArm } from './questions.ts'
import { assignmentsOf, isBelow, overlay, valueAt } from './settings.ts'

/** Largest share by which an arm may miss the quantity: with a larger one, the two arms are not alike. */
const MAX_MISMATCH = 0.1

/** Largest value that is tried for a field whose schema has no maximum. */
const MAX_VALUE = 2 ** 20

/** Paths of the settings of a layer and of a router of the user's own. */
const SETTINGS = ['model.layer.settings', 'model.moe.settings']

/** Fields of a model that are whole numbers, by path: a field outside the model is no size of it. */
type WholeNumbers = ReadonlyMap<string, Range>

interface Study {
  readonly specification: Specification
  /** Settings of all arms, and of each arm. */
  readonly set: Settings
  readonly arms: Readonly<Record<string, Settings>>
  readonly matches: Readonly<Record<string, MatchSpecification>>
}

/**
 * Solves for the open field of each arm that has one. An arm may be matched to another matched arm.
 * @param configs Configurations of the other arms.
 * @throws UsageError for an unknown arm, arms that are matched in a circle, a field that cannot be solved for, and if no
 *   value comes near the quantity of the other arm
 */
export async function solveMatches(study: Study, configs: ReadonlyMap<string, RunConfig>): Promise<Match[]> {
  const { matches } = study
  const solved = new Map<string, { readonly match: Match; readonly config: RunConfig }>()
  const wholeNumbers = wholeNumbersOf(jsonSchemaOf(runSchema), 'model')
  for (const arm of inOrder(study)) {
    const of = otherArm(study, arm)
    const other = (solved.get(of)?.config ?? configs.get(of)) as RunConfig
    solved.set(arm, await solve(study, arm, of, other, wholeNumbers))
  }
  return Object.keys(matches).flatMap((arm) => solved.get(arm)?.match ?? [])
}

/** The matched arms, each after the arm that it is matched to. @throws UsageError for an unknown arm and for a circle */
function inOrder(study: Study): string[] {
  const ordered: string[] = []
  const visit = (arm: string, before: readonly string[]) => {
    if (ordered.includes(arm) || !Object.hasOwn(study.matches, arm)) return
    if (before.includes(arm))
      throw new UsageError(
        `invalid match.of of arm "${arm}": "${otherArm(study, arm)}" (${[...before, arm].map((name) => `"${name}"`).join(' is matched to ')}; expected an arm whose own size does not depend on "${arm}")`,
      )
    visit(otherArm(study, arm), [...before, arm])
    ordered.push(arm)
  }
  for (const arm of Object.keys(study.matches)) visit(arm, [])
  return ordered
}

function otherArm({ specification: { questions = [] }, arms, matches }: Study, arm: string): string {
  const names = Object.keys(arms)
  const given = matches[arm]?.of
  if (given !== undefined) {
    requireArm(given, names, `match.of of arm "${arm}"`)
    return given
  }
  const pairs = questions.flatMap(({ contrasts = [], baseline = '', arms: compared = [] }) => [
    ...contrasts,
    ...compared.map((other) => [baseline, other] as const),
  ])
  const baseline = pairs.find(([, compared]) => compared === arm)?.[0] ?? (names[0] as string)
  if (baseline === arm)
    throw new UsageError(
      `invalid match of arm "${arm}": it has no field of, and the arm is a baseline itself (expected of: the name of the arm that it is matched to)`,
    )
  requireArm(baseline, names, `the baseline of arm "${arm}"`)
  return baseline
}

async function solve(
  { specification: { base }, set, arms, matches }: Study,
  arm: string,
  of: string,
  other: RunConfig,
  wholeNumbers: WholeNumbers,
): Promise<{ match: Match; config: RunConfig }> {
  const { equal, by: given } = matches[arm] as MatchSpecification
  const fields = await readFields(base, assignmentsOf(overlay(set, arms[arm] ?? {})), presets)
  const by = given ?? (valueAt(fields, ['model', 'moe']) === null ? 'model.hidden' : 'model.moe.hidden')
  const refuse = (why: string) => new UsageError(`invalid match.by of arm "${arm}": "${by}" (${why})`)
  // A part of the user's own may have any settings, and refuses numbers that are none of them.
  const isOwn = SETTINGS.some((path) => by.startsWith(`${path}.`))
  const range = wholeNumbers.get(by) ?? (isOwn ? { min: 1, max: MAX_VALUE } : undefined)
  if (range === undefined)
    throw refuse(
      `expected the path of a field of model that is a whole number, such as model.hidden${suggestion(by, wholeNumbers.keys())}`,
    )
  const own = Object.keys(arms[arm] ?? {}).find((path) => path === by || isBelow(by, path))
  if (own !== undefined)
    throw refuse(
      `the arm itself sets ${own} to ${formatValue(arms[arm]?.[own])}; leave it out, or solve for another field`,
    )
  const path = by.split('.')
  const absent = path.findIndex((_, i) => i > 0 && valueAt(fields, path.slice(0, i)) === null)
  if (absent > 0) throw refuse(`${path.slice(0, absent).join('.')} of the arm is null; solve for another field`)

  const withValue = (value: number) => setField(fields, path, value)
  const target = quantityOf(other, equal)
  const accepted = (value: number) => {
    const { data } = runSchema.safeParse(withValue(value))
    return data ? quantityOf(data, equal) : null
  }
  const points = neighbours(range, accepted, target)
  const [best] = points.toSorted((a, b) => Math.abs(a.reached - target) - Math.abs(b.reached - target))
  if (best === undefined) throw unacceptable(arm, withValue(range.min), refuse)
  if (hasTwin(range, accepted, best))
    throw refuse(
      `other values of it give the same ${quantityText(equal, best.reached)}, so no value is the right one; solve for another field`,
    )
  const match = { arm, of, equal, by, value: best.value, target, reached: best.reached }
  if (Math.abs(mismatchOf(match)) > MAX_MISMATCH) throw tooFar(match, points)
  return { match, config: runSchema.parse(withValue(best.value)) }
}

/** The quantity of an arm: FLOPs of a token if nothing is dropped, numbers of parameters, or bytes. */
function quantityOf(config: RunConfig, quantity: Quantity): number {
  if (quantity === 'memory') {
    const { parameters, gradients, optimizer } = rankMemory(config, layoutOf(config), 1)
    return parameters + gradients + optimizer
  }
  const { flopsPerToken, parameters, activeParameters } = describeModel(config.model)
  return { activeFlops: flopsPerToken, totalParameters: parameters, activeParameters }[quantity]
}

/** The error of an arm that is wrong whatever value its field has. */
function unacceptable(arm: string, fields: object, refuse: (why: string) => UsageError): UsageError {
  try {
    parseInput(runSchema, fields, 'configuration')
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    return new UsageError(`invalid study:\n  arm "${arm}": ${error.message.replaceAll('\n', '\n  ')}`)
  }
  return refuse('the other settings of the arm accept no value of it')
}

function tooFar({ arm, of, equal, by, target }: Match, points: readonly Point[]): UsageError {
  const nearest = points.map((point) => {
    const found = { target, reached: point.reached }
    return `${point.value} with ${quantityText(equal, point.reached)}, ${mismatchText(found)}`
  })
  return new UsageError(
    `invalid match of arm "${arm}": no value of ${by} comes within ${percent(MAX_MISMATCH, 0)} of ${quantityText(equal, target)}, as "${of}" has (nearest: ${nearest.join('; ')}; solve for another field with match.by, or change the arms)`,
  )
}

function wholeNumbersOf(root: JsonSchema, group: string): WholeNumbers {
  const found = new Map<string, Range>()
  const visit = (node: JsonSchema, path: string) => {
    if (node.type === 'integer') {
      const min = Math.max(0, node.minimum ?? 0, (node.exclusiveMinimum ?? -1) + 1)
      found.set(path, { min, max: Math.min(node.maximum ?? MAX_VALUE, MAX_VALUE) })
    }
    for (const option of node.anyOf ?? []) visit(option, path)
    for (const [key, below] of Object.entries(node.properties ?? {})) visit(below, `${path}.${key}`)
  }
  visit(root.properties?.[group] ?? {}, group)
  return found
}

/**
 * Searches a whole number at which a quantity is near a target. Some numbers are not accepted: a width must be a
 * multiple of the number of heads, for example. The quantity must rise or fall over the accepted numbers, as parameters
 * and FLOPs do with every size of a model.
 */

/** The range of a number, both ends included. */
export interface Range {
  readonly min: number
  readonly max: number
}

/** A number that is accepted, with its quantity. */
export interface Point {
  readonly value: number
  readonly reached: number
}

/** The quantity of a number; null if the number is not accepted. */
type QuantityOf = (value: number) => number | null

/** The largest number of refused numbers in a row that are skipped; after more, the accepted numbers count as ended. */
const MAX_GAP = 4096

/** The first accepted number from one number to another, in this order. */
function firstOf(from: number, to: number, quantityOf: QuantityOf): Point | null {
  const direction = from <= to ? 1 : -1
  const count = Math.min(Math.abs(to - from), MAX_GAP) + 1
  for (let i = 0; i < count; i++) {
    const value = from + direction * i
    const reached = quantityOf(value)
    if (reached !== null) return { value, reached }
  }
  return null
}

/**
 * Whether another accepted number has the same quantity as a number. The quantity rises or falls, so that is one of the
 * two accepted numbers next to it.
 */
export const hasTwin = ({ min, max }: Range, quantityOf: QuantityOf, { value, reached }: Point): boolean =>
  (value > min && firstOf(value - 1, min, quantityOf)?.reached === reached) ||
  (value < max && firstOf(value + 1, max, quantityOf)?.reached === reached)

/**
 * The two neighbouring accepted numbers with the target between their quantities, the lower number first. The first one
 * has not reached the target; the second one has, or has gone beyond it. If all quantities are on one side of the
 * target, only the number at the end that is nearer to it is returned. Empty if no number is accepted.
 */
export function neighbours({ min, max }: Range, quantityOf: QuantityOf, target: number): Point[] {
  const first = (from: number, to: number) => firstOf(from, to, quantityOf)
  /** The first accepted number from the middle of an open interval upwards, else downwards. */
  const between = (low: number, middle: number, high: number): Point | null =>
    (middle < high ? first(middle, high - 1) : null) ?? (low + 1 < middle ? first(middle - 1, low + 1) : null)

  const lowest = first(min, max)
  if (lowest === null) return []
  const side = Math.sign(lowest.reached - target)
  const isBeyond = ({ reached }: Point) => Math.sign(reached - target) !== side
  if (side === 0) return [lowest]

  let low = lowest
  let high: Point | null = null
  for (let span = 1; high === null && low.value < max; span *= 2) {
    const found = between(low.value, Math.min(low.value + span, max), max + 1)
    if (found === null) break
    if (isBeyond(found)) high = found
    // The quantity leads away from the target, so no larger number comes nearer.
    else if (Math.abs(found.reached - target) > Math.abs(low.reached - target)) break
    else low = found
  }
  if (high === null) return [low]
  while (high.value - low.value > 1) {
    const found = between(low.value, Math.floor((low.value + high.value) / 2), high.value)
    if (found === null) break
    if (isBeyond(found)) high = found
    else low = found
  }
  return [low, high]
}
