/** The display for logs: a line every few seconds, and one per evaluation and checkpoint. */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { count, duration, fixed, percent } from '../../../core/text/numbers.ts'
import type { TrainEvent } from '../../../train/loop/events.ts'
import type { Colors, Io } from '../io.ts'
import { type Display, evaluationValues, mfuText, type Row, type StartEvent, startText, TimeLeft } from './display.ts'
import { print, printNote } from './print.ts'

const INTERVAL_MS = 5000

export class LinesDisplay implements Display {
  private readonly io: Io
  private readonly config: RunConfig
  private readonly name: string
  private readonly colors: Colors
  private steps: number
  private timeLeft: TimeLeft | undefined
  private printedAt = -Infinity

  constructor(io: Io, config: RunConfig, name: string, colors: Colors) {
    this.io = io
    this.config = config
    this.name = name
    this.colors = colors
    this.steps = config.train.steps
  }

  event(event: TrainEvent): void {
    switch (event.kind) {
      case 'prepare':
        this.print(event.message)
        break
      case 'start':
        this.steps = event.steps
        this.timeLeft = new TimeLeft(event, this.io.now())
        print(this.io, startText(this.config, this.name, event, this.colors, comparison(event)))
        break
      case 'train': {
        const now = this.io.now()
        if (now - this.printedAt < INTERVAL_MS && event.step !== this.steps) return
        this.printedAt = now
        this.print(this.trainLine(event, now))
        break
      }
      case 'eval':
        this.print(`eval  ${this.at(event.step)}   ${evaluationValues(event).join('   ')}`)
        break
      case 'checkpoint':
        this.print(`saved ${this.at(event.step)}   ${event.path}`)
        break
      case 'notice':
      case 'warning':
        this.note(event.message)
        break
    }
  }

  note(text: string): void {
    printNote(this.io, text)
  }

  close(): void {}

  private trainLine(record: Extract<TrainEvent, { kind: 'train' }>, now: number): string {
    const parts = [
      `step  ${this.at(record.step)}`,
      `loss ${fixed(record.loss, 3).padStart(6)}`,
      `lr ${record.learning_rate.toExponential(1)}`,
      `${count(record.tokens_per_second).padStart(6)} tok/s`,
      `MFU ${mfuText(record).padStart(4)}`,
    ]
    if (this.config.model.moe)
      parts.push(`drop ${percent(record.drop_rate).padStart(6)}`, `c_v ${fixed(record.load_cv, 2)}`)
    if (record.step < this.steps) {
      const left = this.timeLeft?.at(record.step, now) ?? Number.NaN
      parts.push(`${duration(left)} left`)
    }
    return parts.join('   ')
  }

  private at(step: number): string {
    const width = String(this.steps).length
    return `${String(step).padStart(width)}/${this.steps}`
  }

  private print(line: string): void {
    print(this.io, `  ${line}\n`)
  }
}

/** A number with which the bits per byte of the evaluations can be compared. */
const comparison = ({ gzipBitsPerByte: bits }: StartEvent): Row[] =>
  bits === undefined ? [] : [['', `gzip -9 needs ${fixed(bits, 3)} bits per byte of the held-out text`]]
