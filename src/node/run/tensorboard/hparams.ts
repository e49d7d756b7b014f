/**
 * Settings and results of a run for TensorBoard's HPARAMS page (tensorboard/plugins/hparams/plugin_data.proto and
 * api.proto). They are metadata of three summaries without a value: the experiment (which settings and metrics there
 * are), the start of a session (its settings), and its end.
 */
import { differences } from '../../../core/config/differences.ts'
import { doubleField, type Field, message, messageField, textField, varintField } from '../../../core/text/protobuf.ts'

export type Setting = string | number | boolean

/** The metadata of a summary, with the tag where the plugin looks for it. */
export type HParamsSummary = readonly [tag: string, metadata: Uint8Array]

const STRING = 1
const BOOL = 2
const FLOAT64 = 3
const VALIDATION = 2
const SUCCESS = 1

/** Metrics of a run: tags of its scalars, and their titles. */
const metrics = [
  ['eval/loss', 'held-out loss'],
  ['eval/bits_per_byte', 'bits per byte'],
  ['eval/dropless/loss', 'held-out loss, dropless'],
] as const

/** Settings by path, without the paths that match `omit`. Lists become text, and null becomes "none". */
export function settingsOf(config: object, omit: RegExp): Map<string, Setting> {
  const settings = differences({}, config).flatMap(({ field, to }) => leaves(field, to))
  return new Map(settings.filter(([field]) => !omit.test(field)))
}

function leaves(field: string, value: unknown): [string, Setting][] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return Object.entries(value).flatMap(([name, inner]) => leaves(`${field}.${name}`, inner))
  if (value === undefined) return []
  if (value === null) return [[field, 'none']]
  return [[field, typeof value === 'object' ? JSON.stringify(value) : (value as Setting)]]
}

/**
 * Summaries for the start of a session.
 * @param settings Settings of this run.
 * @param others Settings that runs beside it may have: TensorBoard shows only settings that the first run lists.
 */
export function sessionStart(
  settings: ReadonlyMap<string, Setting>,
  others: ReadonlyMap<string, Setting>,
  seconds: number,
): HParamsSummary[] {
  const all = new Map([...others, ...settings])
  const infos = [...all].map(([name, value]) => messageField(4, textField(1, name), varintField(4, typeOf(value))))
  const metricInfos = metrics.map(([tag, title]) =>
    messageField(5, messageField(1, textField(2, tag)), textField(3, title), varintField(5, VALIDATION)),
  )
  const values = [...settings].map(([name, value]) =>
    messageField(1, textField(1, name), messageField(2, valueField(value))),
  )
  return [
    ['_hparams_/experiment', metadata(messageField(2, doubleField(3, seconds), ...infos, ...metricInfos))],
    ['_hparams_/session_start_info', metadata(messageField(3, ...values, doubleField(5, seconds)))],
  ]
}

/** The summary for a run that has made all of its steps. */
export const sessionEnd = (seconds: number): HParamsSummary => [
  '_hparams_/session_end_info',
  metadata(messageField(4, varintField(1, SUCCESS), doubleField(2, seconds))),
]

const typeOf = (value: Setting): number =>
  typeof value === 'number' ? FLOAT64 : typeof value === 'boolean' ? BOOL : STRING

/** The field of a google.protobuf.Value that holds a setting. */
function valueField(value: Setting): Field {
  if (typeof value === 'number') return doubleField(2, value)
  return typeof value === 'boolean' ? varintField(4, value ? 1 : 0) : textField(3, value)
}

/** SummaryMetadata with the data of the plugin. Its data class is tensor. */
const metadata = (data: Field): Uint8Array =>
  message(messageField(1, textField(1, 'hparams'), messageField(2, data)), varintField(4, 2))
