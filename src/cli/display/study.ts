/**
 * How a study is followed: a line for every run that ends, and on a terminal, below them, a bar of the
 * whole study with what runs now.
 */
import { MultiBar, type Params } from 'cli-progress'
import type { StudyEvent } from '../../study/events.ts'
import { count, duration, fixed, grouped, widthOf } from '../format.ts'
import { type Colors, type Io, isTerminal } from '../io.ts'
import { labelled } from './display.ts'

const longestBar = 40

interface Running {
  readonly flops: number
  step: number
  steps: number
  loss: number | null
}

export class StudyDisplay {
  readonly #io: Io
  readonly #colors: Colors
  readonly #running = new Map<string, Running>()
  #bars: MultiBar | undefined
  #began = 0
  #runs = 0
  #finished = 0
  #flopsLeft = 0
  #flopsDone = 0
  #timing = ''

  constructor(io: Io, colors: Colors) {
    this.#io = io
    this.#colors = colors
  }

  event(event: StudyEvent): void {
    const { dim } = this.#colors
    switch (event.kind) {
      case 'prepare':
        this.#print(`  ${dim(event.message)}`)
        break
      case 'study':
        this.#open(event)
        break
      case 'begin':
        this.#running.set(`${event.arm}, seed ${event.seed}`, { flops: event.flops, step: 0, steps: 0, loss: null })
        break
      case 'progress': {
        const run = this.#running.get(`${event.arm}, seed ${event.seed}`)
        if (run) Object.assign(run, { step: event.step, steps: event.steps, loss: event.loss })
        break
      }
      case 'end':
        this.#end(event)
        break
      case 'timing':
        this.#timing = `timing steps, turn ${event.turn} of ${event.turns}: ${event.arm}`
        if (!this.#bars) this.#print(`  ${this.#timing}`)
        break
      case 'note':
        this.note(event.message)
        break
    }
  }

  note(text: string): void {
    if (this.#bars && isTerminal(this.#io.stderr, this.#io.env)) this.#print(`${this.#colors.yellow('choir:')} ${text}`)
    else this.#io.stderr.write(`choir: ${text}\n`)
  }

  close(): void {
    this.#bars?.stop()
    this.#bars = undefined
  }

  #open(event: Extract<StudyEvent, { kind: 'study' }>): void {
    const { arms, seeds, runs, finished, jobs, threads, flopsLeft } = event
    this.#began = this.#io.now()
    this.#runs = runs
    this.#finished = finished
    this.#flopsLeft = flopsLeft
    const before = finished > 0 ? `, ${grouped(finished)} of them done before` : ''
    const each = threads === 1 ? 'a thread each' : `${threads} threads each`
    this.#print(
      `\n${labelled(
        [
          [
            'study',
            `${grouped(arms)} arms, ${seeds} ${seeds === 1 ? 'seed' : 'seeds'}: ${grouped(runs)} runs${before}`,
          ],
          ['at a time', jobs === 1 ? `one run, ${each}` : `${jobs} runs, ${each}`],
        ],
        this.#colors,
      )}`,
    )
    if (!isTerminal(this.#io.stdout, this.#io.env) || finished === runs) return
    this.#bars = new MultiBar({
      stream: this.#io.stdout,
      format: (_, { value, total }: Params) => this.#bar(value, total),
      forceRedraw: true,
      hideCursor: true,
      clearOnComplete: true,
      gracefulExit: false,
      fps: 4,
    })
    this.#bars.create(runs, finished)
    for (let job = 0; job < jobs; job++) this.#bars.create(1, 0, undefined, { format: () => this.#line(job) })
  }

  #end({ arm, seed, record, finished }: Extract<StudyEvent, { kind: 'end' }>): void {
    const { green, red, bold, dim } = this.#colors
    const name = `${arm}, seed ${seed}`
    const flops = this.#running.get(name)?.flops ?? 0
    this.#running.delete(name)
    this.#finished = finished
    this.#flopsDone += flops
    const width = grouped(this.#runs).length
    const place = `${grouped(finished).padStart(width)}/${grouped(this.#runs)}`
    const what =
      record.status === 'finished'
        ? `${green(place)}  ${name}  ${dim('loss')} ${bold(fixed(record.heldOut.loss, 4))}`
        : `${red(place)}  ${name}  ${red('failed:')} ${record.error}`
    this.#print(`  ${what}${this.#bars ? '' : this.#left()}`)
  }

  /** Seconds that are left, if the runs to come are as fast as those done. */
  #left(): string {
    const elapsed = (this.#io.now() - this.#began) / 1000
    let done = this.#flopsDone
    for (const { flops, step, steps } of this.#running.values()) done += steps > 0 ? (flops * step) / steps : 0
    if (done === 0 || this.#flopsLeft <= this.#flopsDone) return ''
    return `   ${duration((elapsed * (this.#flopsLeft - done)) / done)} left`
  }

  #bar(_value: number, runs: number): string {
    const { cyan, dim } = this.#colors
    const text = `  ${grouped(this.#finished)}/${grouped(runs)} runs${this.#timing === '' ? this.#left() : ''}`
    const length = Math.min(longestBar, (this.#io.stdout.columns ?? 80) - 4 - widthOf(text))
    if (length < 4) return text.trimStart()
    const share = runs > 0 ? this.#finished / runs : 0
    const filled = Math.floor(length * share)
    return `  ${cyan('━'.repeat(filled))}${dim('─'.repeat(length - filled))}${text}`
  }

  #line(job: number): string {
    if (this.#timing !== '') return job === 0 ? `  ${this.#timing}` : ''
    const entry = [...this.#running][job]
    if (!entry) return ''
    const [name, { step, steps, loss }] = entry
    const state =
      steps === 0 ? 'starting' : `${count(step)}/${count(steps)}${loss === null ? '' : `, loss ${fixed(loss, 3)}`}`
    const room = (this.#io.stdout.columns ?? 80) - 6 - widthOf(state)
    return `  ${name.length > room ? `${name.slice(0, Math.max(1, room - 3))}...` : name}  ${this.#colors.dim(state)}`
  }

  #print(text: string): void {
    if (!this.#bars) {
      this.#io.stdout.write(`${text}\n`)
      return
    }
    this.#bars.log(`${text}\n`)
    this.#bars.update()
  }
}
