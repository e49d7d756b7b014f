/** The live display: two lines, progress and metrics, redrawn in place below the scrolling evaluations. */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { widthOf } from '../../../core/text/columns.ts'
import { count, duration, fixed, grouped, percent } from '../../../core/text/numbers.ts'
import type { TrainEvent } from '../../../train/loop/events.ts'
import { type Colors, type Io, isTerminal } from '../io.ts'
import { type Display, evaluationValues, mfuText, type StartEvent, startText, TimeLeft } from './display.ts'
import { LiveLines } from './live-lines.ts'
import { print, printNote } from './print.ts'

const MAX_BAR_WIDTH = 48

export class BarDisplay implements Display {
  private readonly io: Io
  private readonly config: RunConfig
  private readonly name: string
  private readonly colors: Colors
  private readonly legend: ((start: StartEvent) => string) | null
  private live: LiveLines | undefined
  private step = 0
  private timeLeft: TimeLeft | undefined
  private left = Number.NaN
  private last: Extract<TrainEvent, { kind: 'train' }> | undefined

  /** @param legend Explains the values below the first lines; null if the user knows them. */
  constructor(
    io: Io,
    config: RunConfig,
    name: string,
    colors: Colors,
    legend: ((start: StartEvent) => string) | null = null,
  ) {
    this.legend = legend
    this.io = io
    this.config = config
    this.name = name
    this.colors = colors
  }

  event(event: TrainEvent): void {
    const { dim, green } = this.colors
    switch (event.kind) {
      case 'prepare':
        this.print(`  ${dim(event.message)}\n`)
        break
      case 'start':
        this.print(startText(this.config, this.name, event, this.colors) + (this.legend?.(event) ?? ''))
        this.timeLeft = new TimeLeft(event, this.io.now())
        this.step = event.fromStep
        this.live = new LiveLines(this.io, (columns) => [this.progress(event.steps, columns), this.metrics(columns)], 8)
        break
      case 'train':
        this.last = event
        this.left = this.timeLeft?.at(event.step, this.io.now()) ?? Number.NaN
        this.step = event.step
        break
      case 'eval': {
        const width = grouped(this.config.train.steps).length
        const step = `${green('step')} ${grouped(event.step).padStart(width)}`
        this.print(`  ${[step, ...evaluationValues(event)].join('   ')}\n`)
        break
      }
      case 'notice':
      case 'warning':
        this.note(event.message)
        break
    }
  }

  note(text: string): void {
    // On a terminal the line must be above the bar; a redirected standard error is written to directly.
    if (this.live && isTerminal(this.io.stderr, this.io.env)) this.print(`${this.colors.yellow('choir:')} ${text}\n`)
    else printNote(this.io, text)
  }

  close(): void {
    this.live?.close()
    this.live = undefined
  }

  private print(text: string): void {
    if (this.live) this.live.print(text)
    else print(this.io, text)
  }

  private progress(steps: number, columns: number): string {
    const { dim, cyan } = this.colors
    const { step } = this
    const total = grouped(steps)
    const left = Number.isFinite(this.left) && step < steps ? `   ${duration(this.left)} left` : ''
    const text = `  ${grouped(step).padStart(total.length)}/${total}${left}`
    const room = columns - 4 - widthOf(text)
    const length = Math.min(room, MAX_BAR_WIDTH)
    if (length < 4) return oneLine([text.trimStart()], columns)
    const done = Math.floor((length * step) / steps)
    return `  ${cyan('━'.repeat(done))}${dim('─'.repeat(length - done))}${text}`
  }

  private metrics(columns: number): string {
    const record = this.last
    const { bold, dim } = this.colors
    if (!record) return oneLine([dim('first step ...')], columns)
    const sparse = this.config.model.moe !== null
    const parts = [
      `${dim('loss')} ${bold(fixed(record.loss, 3))}`,
      `${count(record.tokens_per_second)} ${dim('tok/s')}`,
      `${dim('MFU')} ${mfuText(record)}`,
    ]
    if (sparse) parts.push(`${dim('drop')} ${percent(record.drop_rate)}`, `${dim('c_v')} ${fixed(record.load_cv, 2)}`)
    return oneLine(parts, columns)
  }
}

/** A line of as many of the first parts as fit. */
function oneLine(parts: readonly string[], columns: number): string {
  let line = ` ${parts[0] ?? ''}`
  for (const part of parts.slice(1)) {
    const longer = `${line}   ${part}`
    if (widthOf(longer) >= columns - 1) break
    line = longer
  }
  return ` ${line}`
}
