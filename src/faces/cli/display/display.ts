/**
 * A display shows the events of a training: on a terminal as a live bar, otherwise as plain lines, or as JSON. This
 * file holds the interface and the text that the live bar and the plain lines share.
 */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { isOfDenseModel } from '../../../core/model/routing/statistics.ts'
import { count, fixed, grouped, percent } from '../../../core/text/numbers.ts'
import type { TrainEvent } from '../../../train/loop/events.ts'
import type { EvalRecord } from '../../../train/step/metrics/records.ts'
import type { Colors } from '../io.ts'
import { droplessNote } from './capacities.ts'
import { differenceText, engineLine, modelLine, originText, routingLine, sourceName } from './summary.ts'

export interface Display {
  event(event: TrainEvent): void
  /** Prints a line on standard error, such as a warning, without disturbing the bar. */
  note(text: string): void
  /** Restores the terminal. Idempotent. */
  close(): void
}

export type StartEvent = Extract<TrainEvent, { kind: 'start' }>

/** Estimates the seconds until the last step, from the time of the steps since this process began. */
export class TimeLeft {
  private readonly start: StartEvent
  private readonly startedAt: number

  constructor(start: StartEvent, now: number) {
    this.start = start
    this.startedAt = now
  }

  at(step: number, now: number): number {
    const done = step - this.start.fromStep
    return done > 0 ? ((now - this.startedAt) / 1000 / done) * (this.start.steps - step) : Number.NaN
  }
}

export type Row = readonly [label: string, value: string]

/** Lines of `label  value` with the values aligned. */
export function labelled(rows: readonly Row[], colors: Colors): string {
  const width = Math.max(...rows.map(([label]) => label.length))
  return rows.map(([label, value]) => `  ${colors.dim(label.padEnd(width))}  ${value}\n`).join('')
}

/**
 * Model, text, engine and directory of a training that starts.
 * @param ofText Further rows about the text.
 */
export function startText(
  config: RunConfig,
  name: string,
  start: StartEvent,
  colors: Colors,
  ofText: readonly Row[] = [],
): string {
  const { train, model } = config
  const tokens = train.batch * model.sequence
  const resumed = start.fromStep > 0 ? `, continued from step ${grouped(start.fromStep)}` : ''
  return `\n${labelled(
    [
      ['model', `${colors.bold(name)}, ${modelLine(config)}`],
      ['experts', routingLine(config)],
      ['size', `${count(start.parameters)} parameters, ${count(start.activeParameters)} active for a token`],
      ['text', `${sourceName(config)}, ${count(start.trainTokens)} tokens, ${count(start.heldOutTokens)} held out`],
      ...ofText,
      ['steps', `${grouped(start.steps)} of ${grouped(tokens)} tokens${resumed}`],
      ...originRows(start),
      ['engine', engineLine(start)],
      ['run', start.directory],
    ],
    colors,
  )}\n`
}

/** Rows of the run that the weights or the whole state come from and, if the run begins with them, changed settings. */
function originRows({ from, fromStep }: StartEvent): Row[] {
  if (!from) return []
  const changed = fromStep > (from.fork ? from.step : 0) ? [] : from.differences.map(differenceText)
  const rows = changed.map((text, i): Row => [i === 0 ? 'changed' : '', text])
  return [[from.fork ? 'fork of' : 'weights', originText(from)], ...rows]
}

/** MFU of a step; after a disturbed measurement of the matmul rate it is only a bound. */
export const mfuText = ({ mfu, mfuAtMost }: Extract<TrainEvent, { kind: 'train' }>): string =>
  `${mfuAtMost ? '≤ ' : ''}${percent(mfu, 0)}`

/** The values of an evaluation for one line, the most important ones first. */
export function evaluationValues(record: EvalRecord): string[] {
  return [
    `held-out loss ${fixed(record.loss, 3)}${droplessNote(record)}`,
    `${fixed(record.bits_per_byte, 3)} bits per byte`,
    ...(isOfDenseModel({ ...record }) ? [] : [`drop ${percent(record.drop_rate)}`, `c_v ${fixed(record.load_cv, 2)}`]),
  ]
}
