/**
 * How a training is followed: a display takes events and shows them, on a terminal with a live bar,
 * elsewhere as plain lines, or as JSON. This file holds what the displays for people share.
 */
import type { RunConfig } from '../../config/run-config.ts'
import type { EvalRecord } from '../../step/records.ts'
import { count, fixed, grouped, percent } from '../../text/numbers.ts'
import type { TrainEvent } from '../../train/events.ts'
import type { Colors } from '../io.ts'
import { engineLine, modelLine, routingLine, sourceName } from '../summary.ts'
import { droplessBeside } from './capacities.ts'

export interface Display {
  event(event: TrainEvent): void
  /** A line for standard error, such as a warning, without tearing the bar. */
  note(text: string): void
  /** Leaves the terminal as it was. Idempotent. */
  close(): void
}

export type StartEvent = Extract<TrainEvent, { kind: 'start' }>

/** Seconds until the last step, from the steps since this process began. */
export class TimeLeft {
  private readonly start: StartEvent
  private readonly began: number

  constructor(start: StartEvent, now: number) {
    this.start = start
    this.began = now
  }

  at(step: number, now: number): number {
    const done = step - this.start.fromStep
    return done > 0 ? ((now - this.began) / 1000 / done) * (this.start.steps - step) : Number.NaN
  }
}

/** Lines of `label  value`, the labels aligned. */
export function labelled(rows: readonly (readonly [label: string, value: string])[], colors: Colors): string {
  const width = Math.max(...rows.map(([label]) => label.length))
  return rows.map(([label, value]) => `  ${colors.dim(label.padEnd(width))}  ${value}\n`).join('')
}

/** What is about to be trained, on what, where. */
export function opening(config: RunConfig, name: string, start: StartEvent, colors: Colors): string {
  const { train, model } = config
  const tokens = train.batch * model.sequence
  const resumed = start.fromStep > 0 ? `, continued from step ${grouped(start.fromStep)}` : ''
  return `\n${labelled(
    [
      ['model', `${colors.bold(name)}, ${modelLine(config)}`],
      ['experts', routingLine(config)],
      ['size', `${count(start.parameters)} parameters, ${count(start.activeParameters)} active for a token`],
      ['text', `${sourceName(config)}, ${count(start.trainTokens)} tokens, ${count(start.heldOutTokens)} held out`],
      ['steps', `${grouped(start.steps)} of ${grouped(tokens)} tokens${resumed}`],
      ['engine', engineLine(start)],
      ['run', start.directory],
    ],
    colors,
  )}\n`
}

/** One evaluation as values for a line, the first the most important. */
export function evaluationValues(record: EvalRecord): string[] {
  return [
    `held-out loss ${fixed(record.loss, 3)}${droplessBeside(record)}`,
    `${fixed(record.bits_per_byte, 3)} bits per byte`,
    `drop ${percent(record.drop_rate)}`,
    `c_v ${fixed(record.load_cv, 2)}`,
  ]
}
