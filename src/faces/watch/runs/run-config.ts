/** Reads config.json tolerantly: every field that can be read, and a message about the rest. */
import { type Fields, isFields } from '../../../core/config/fields.ts'
import { UsageError } from '../../../core/errors.ts'
import { describeModel } from '../../../core/model/describe.ts'
import { routedModules } from '../../../core/model/parameters.ts'
import { parseRunConfig } from '../../../node/run/load-config.ts'
import { originIn } from '../../../train/run/origin.ts'
import type { FlatConfig } from '../api.ts'
import type { ExpectedRouters } from './routing-log.ts'

export interface KnownConfig {
  readonly fields: FlatConfig
  readonly steps: number | null
  /** Number of steps in a row that are not finite after which the training fails. */
  readonly maxNonFinite: number | null
  /** Number of tokens on which an evaluation is made at most; null if it is made on all held-out text, or unknown. */
  readonly evaluatedAtMost: number | null
  readonly created: number | null
  /** FLOPs to train the model on one token. */
  readonly flopsPerToken: number | null
  /** Routers that routing.jsonl should have; null for a dense model, and if the model is unknown. */
  readonly routers: ExpectedRouters | null
  readonly problem?: string
}

export const unknownConfig: KnownConfig = {
  fields: {},
  steps: null,
  maxNonFinite: null,
  evaluatedAtMost: null,
  created: null,
  flopsPerToken: null,
  routers: null,
}

/** Whether the text is a Choir configuration, valid or not; undefined if it is not JSON. */
export function isRunConfig(text: string): boolean | undefined {
  try {
    const stored: unknown = JSON.parse(text)
    return isFields(stored) && isFields(stored.model) && isFields(stored.train)
  } catch {
    return undefined
  }
}

export function readRunConfig(text: string): KnownConfig {
  let stored: unknown
  try {
    stored = JSON.parse(text)
  } catch {
    return { ...unknownConfig, problem: 'config.json is not JSON' }
  }
  if (!isFields(stored)) return { ...unknownConfig, problem: 'config.json is not an object' }
  const sections = ['model', 'data', 'train', 'parallel', 'runtime'].filter((name) => Object.hasOwn(stored, name))
  const settings = sections.flatMap((name) => flat(stored[name], name))
  const created = typeof stored.created === 'string' ? Date.parse(stored.created) : Number.NaN
  const found = {
    ...unknownConfig,
    // `fromEntries` rather than assignments: a field may be named `__proto__`.
    fields: Object.fromEntries([...originFields(stored), ...settings].slice(0, MAX_FIELDS)),
    created: Number.isNaN(created) ? null : created,
  }
  try {
    const { model, train } = parseRunConfig(text, 'config.json')
    if (model.layers > MAX_LAYERS)
      throw new UsageError(`invalid model.layers: ${model.layers} (the dashboard shows at most ${MAX_LAYERS})`)
    const layers = Array.from({ length: model.layers }, (_, layer) => routedModules(model, layer).length)
    const routers = layers.reduce((sum, count) => sum + count, 0)
    // The size of a router or a layer of the user's own is known only by its program, which the dashboard does not run.
    const hasOwn = model.moe?.router === 'own' || Boolean(model.layer)
    const flopsPerToken = hasOwn ? null : describeModel(model).flopsPerToken
    const expected = model.moe && { routers, prototypes: model.moe.prototypes }
    const { steps, maxNonFinite, evalBatches, batch } = train
    const evaluatedAtMost = evalBatches > 0 ? evalBatches * batch * model.sequence : null
    return { ...found, steps, maxNonFinite, evaluatedAtMost, flopsPerToken, routers: expected }
  } catch (error) {
    const { steps } = isFields(stored.train) ? stored.train : {}
    const known = typeof steps === 'number' && steps > 0 ? steps : null
    return { ...found, steps: known, problem: `config.json: ${(error as Error).message.slice(0, MAX_PROBLEM_LENGTH)}` }
  }
}

/** The run and the step that the first weights came from, if they came from another run. */
function originFields(stored: Fields): [string, string | number | boolean | null][] {
  const origin = originIn(stored)
  return origin ? flat({ run: origin.run, step: origin.step }, 'from') : []
}

/** More than any model has: a table of the tensors of 10^9 layers would take all memory and crash the server. */
const MAX_LAYERS = 512
const MAX_FIELDS = 500
/** Names are sent to every page with every change. */
const MAX_NAME_LENGTH = 200
const MAX_TEXT_LENGTH = 500
const MAX_PROBLEM_LENGTH = 2000
const MAX_DEPTH = 8

function flat(value: unknown, path: string, depth = 0): [string, string | number | boolean | null][] {
  if (path.length > MAX_NAME_LENGTH) return []
  if (isFields(value) && depth < MAX_DEPTH)
    return Object.entries(value).flatMap(([key, below]) => flat(below, `${path}.${key}`, depth + 1))
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return [[path, value]]
  const text =
    typeof value === 'string' ? value : Array.isArray(value) ? value.map(formatElement).join(',') : formatElement(value)
  return [[path, text.slice(0, MAX_TEXT_LENGTH)]]
}

/** Formats an element of a list; nested values are not shown. */
const formatElement = (value: unknown): string => (typeof value === 'object' && value !== null ? '…' : String(value))
