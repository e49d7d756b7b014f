/**
 * Shows the events of a study: a heading for each phase and a line for each finished run. On a terminal, a bar of the
 * phase and the running trainings are below them.
 */

import { widthOf } from '../../../../core/text/columns.ts'
import { count, duration, fixed, grouped, plural } from '../../../../core/text/numbers.ts'
import type { Activity, Phase, RunName, StudyEvent } from '../../../../tools/study/events.ts'
import { isNotable, mismatchText, quantityText, solvedText } from '../../../../tools/study/text.ts'
import { type Colors, type Io, isTerminal } from '../../io.ts'
import { labelled } from '../display.ts'
import { LiveLines } from '../live-lines.ts'
import { print, printNote } from '../print.ts'
import { predictionsText } from './predictions.ts'

const MAX_BAR_WIDTH = 40

/** Maximum number of runs that are named while this process waits for runs of other processes. */
const MAX_NAMED = 3

const headings: Readonly<Record<Phase, string>> = {
  tuning: 'learning rates',
  confirm: 'learning rates, confirmed by whole runs',
  runs: 'runs',
  search: 'rung',
  timings: 'step times',
}

type EventOf<Kind extends StudyEvent['kind']> = Extract<StudyEvent, { kind: Kind }>

interface RunState {
  step: number
  steps: number
  loss: number | null
  activity: Activity
}

const activities: Readonly<Record<Activity, string>> = {
  training: '',
  evaluation: ', evaluating',
  specialisation: ', measuring specialisation',
}

export class StudyDisplay {
  private readonly io: Io
  private readonly colors: Colors
  private readonly running = new Map<string, RunState>()
  private live: LiveLines | undefined
  private runs = 0
  private finished = 0
  private phase: Phase = 'runs'
  private jobs = 1
  /** The newest estimate of the time left, and when it was made; null before the first one. */
  private estimate: { readonly seconds: number; readonly at: number } | null = null
  private timing = ''

  constructor(io: Io, colors: Colors) {
    this.io = io
    this.colors = colors
  }

  event(event: StudyEvent): void {
    const { dim } = this.colors
    switch (event.kind) {
      case 'prepare':
        this.print(`  ${dim(event.message)}`)
        break
      case 'study':
        this.open(event)
        break
      case 'match':
        this.match(event)
        break
      case 'predictions':
        this.print(predictionsText(event, this.colors))
        break
      case 'search':
        this.openSearch(event)
        break
      case 'rung':
        this.rung(event)
        break
      case 'phase':
        this.begin(event)
        break
      case 'begin':
        this.running.set(nameOf(event), { step: 0, steps: 0, loss: null, activity: 'training' })
        break
      case 'progress': {
        const run = this.running.get(nameOf(event))
        const { step, steps, loss, activity } = event
        if (run) Object.assign(run, { step, steps, loss, activity })
        this.estimated(event.secondsLeft)
        break
      }
      case 'end':
        this.end(event)
        break
      case 'tuned':
        this.tuned(event)
        break
      case 'pilot':
        this.pilot(event)
        break
      case 'timing':
        this.finished = event.turn - 1
        this.estimated(event.secondsLeft)
        this.timing = `timing steps, turn ${event.turn} of ${event.turns}: ${event.arm}`
        if (!this.live) this.print(`  ${this.timing}${this.left()}`)
        break
      case 'waiting':
        this.waiting(event)
        break
      case 'note':
        this.note(event.message)
        break
    }
  }

  note(text: string): void {
    if (this.live && isTerminal(this.io.stderr, this.io.env)) this.print(`${this.colors.yellow('choir:')} ${text}`)
    else printNote(this.io, text)
  }

  close(): void {
    this.live?.close()
    this.live = undefined
  }

  private open(event: EventOf<'study'>): void {
    const { arms, seeds, branches, runs, finished, trials, finishedTrials, jobs, threads } = event
    this.jobs = jobs
    const before = (done: number) => (done > 0 ? `, ${grouped(done)} already done` : '')
    const lengths = branches > 1 ? `, ${plural(branches, 'branch', 'branches')}` : ''
    this.print(
      `\n${labelled(
        [
          [
            'study',
            `${plural(arms, 'arm')}, ${plural(seeds, 'seed')}${lengths}: ${plural(runs, 'run')}${before(finished)}`,
          ],
          ...(trials > 0
            ? [['tuning', `${plural(trials, 'short trial')} of learning rates${before(finishedTrials)}`] as const]
            : []),
          ['at a time', atATime(jobs, threads)],
        ],
        this.colors,
      )}`.trimEnd(),
    )
  }

  private match(event: EventOf<'match'>): void {
    const { bold, dim, yellow } = this.colors
    const mismatch = mismatchText(event)
    const end = isNotable(event) ? yellow(`${mismatch}, more than 1 %`) : mismatch
    this.print(
      `  ${event.arm}: ${bold(solvedText(event))}, ${quantityText(event.equal, event.reached)} ${dim(`(${event.of}:`)} ${end}${dim(')')}`,
    )
  }

  private openSearch({ configurations, rungs, runs, finished, jobs, threads }: EventOf<'search'>): void {
    this.jobs = jobs
    const done = finished > 0 ? `, ${grouped(finished)} already done` : ''
    const ladder = rungs.map((rung) => `${grouped(rung.configurations)} to step ${grouped(rung.steps)}`)
    this.print(
      `\n${labelled(
        [
          ['search', `${plural(configurations, 'configuration')}, ${plural(runs, 'training')}${done}`],
          ['rungs', ladder.join(', ')],
          ['at a time', atATime(jobs, threads)],
        ],
        this.colors,
      )}`.trimEnd(),
    )
  }

  private rung({ steps, best, loss, promoted }: EventOf<'rung'>): void {
    const { bold, dim } = this.colors
    const next = promoted > 0 ? `; ${plural(promoted, 'configuration')} ${promoted === 1 ? 'goes' : 'go'} on` : ''
    this.print(
      `  ${dim(`best after ${plural(steps, 'step')}:`)} ${bold(best)}, ${dim('loss')} ${fixed(loss, 4)}${next}`,
    )
  }

  private begin({ phase, rung, runs, finished }: EventOf<'phase'>): void {
    const continued = phase === 'tuning' && this.phase === 'tuning'
    this.phase = phase
    this.runs = runs
    this.finished = finished
    const place = rung ? ` ${rung.number} of ${rung.of}, to step ${grouped(rung.steps)}` : ''
    this.print(`\n  ${this.colors.bold(headings[phase])}${place}${continued ? ', beyond the edges of the sweeps' : ''}`)
    if (this.live || phase === 'timings' || !isTerminal(this.io.stdout, this.io.env)) return
    this.live = new LiveLines(this.io, (columns) => [this.bar(columns), ...this.current(columns)], 4)
  }

  private end(event: EventOf<'end'>): void {
    const { record, loss, finished } = event
    const { green, red, bold, dim } = this.colors
    const name = nameOf(event)
    this.running.delete(name)
    this.finished = finished
    this.estimated(event.secondsLeft)
    const width = grouped(this.runs).length
    const place = `${grouped(finished).padStart(width)}/${grouped(this.runs)}`
    const result =
      record.status === 'finished'
        ? `${green(place)}  ${name}  ${dim('loss')} ${bold(fixed(loss ?? Number.NaN, 4))}`
        : `${red(place)}  ${name}  ${red('failed:')} ${record.error}`
    this.print(`  ${result}${this.live ? '' : this.left()}`)
  }

  private waiting({ runs }: EventOf<'waiting'>): void {
    const named = runs.slice(0, MAX_NAMED).map((run) => `    ${nameOf(run)} (${run.by})`)
    const more = runs.length > named.length ? [`    and ${runs.length - named.length} more`] : []
    const heading = `  waiting for ${plural(runs.length, 'run')} on other processes:`
    this.print([heading, ...named, ...more].map((line) => this.colors.dim(line)).join('\n'))
  }

  private tuned({ arm, best, common, edge, trials, confirmed }: EventOf<'tuned'>): void {
    const { bold, dim } = this.colors
    const comparison = best === common ? 'the common one' : `common ${rateText(common)}`
    const edgeNote = edge === null ? '' : `; ${edge} of ${trials.length} tried`
    const used = confirmed === false ? '; not confirmed, so the common one is used' : ''
    this.print(`  ${arm}: best rate ${bold(rateText(best))} ${dim(`(${comparison}${edgeNote}${used})`)}`)
  }

  private pilot({ arm, baseline, deviation, differences, seeds, detectable, seedsForHalf }: EventOf<'pilot'>): void {
    const { bold } = this.colors
    const nats = (value: number) => `${Number(value.toPrecision(2))}`
    this.print(
      [
        `\n  ${bold('power')}  ${arm} against ${baseline}:`,
        `    standard deviation of the difference over ${plural(differences.length, 'seed')}: ${nats(deviation)} nats a token`,
        `    ${plural(seeds, 'seed')} detect an effect of ${bold(nats(detectable))} with a probability of 80 % (power)`,
        `    an effect of half that size would need ${plural(seedsForHalf, 'seed')}`,
        ...(this.finished < this.runs ? [''] : []),
      ].join('\n'),
    )
  }

  /** Takes an estimate of the time left. Without a terminal the first one has a line of its own, before any run ends. */
  private estimated(seconds: number | null): void {
    if (seconds === null) return
    const isFirst = this.estimate === null
    this.estimate = { seconds, at: this.io.now() }
    if (isFirst && !this.live) this.print(`  ${this.colors.dim(`about ${duration(seconds)} left`)}`)
  }

  /** Time left of the whole study, evaluations and step timing included. */
  private left(): string {
    if (this.estimate === null) return ''
    const seconds = this.estimate.seconds - (this.io.now() - this.estimate.at) / 1000
    return seconds > 0 ? `   ${duration(seconds)} left` : ''
  }

  private bar(columns: number): string {
    const { cyan, dim } = this.colors
    const runs = this.runs
    const unit = this.phase === 'tuning' ? 'trials' : this.phase === 'timings' ? 'turns' : 'runs'
    const text = `  ${grouped(this.finished)}/${grouped(runs)} ${unit}${this.left()}`
    const length = Math.min(MAX_BAR_WIDTH, columns - 4 - widthOf(text))
    if (length < 4) return text.trimStart()
    const share = runs > 0 ? this.finished / runs : 0
    const filled = Math.floor(length * share)
    return `  ${cyan('━'.repeat(filled))}${dim('─'.repeat(length - filled))}${text}`
  }

  /** Lines of the running trainings, or of the timing: one for each job, so that the height does not change. */
  private current(columns: number): string[] {
    const running = [...this.running]
    const lineOf = (job: number): string => {
      if (this.timing !== '') return job === 0 ? `  ${truncated(this.timing, columns - 3)}` : ''
      const entry = running[job]
      return entry ? this.line(...entry, columns) : ''
    }
    return Array.from({ length: this.jobs }, (_, job) => lineOf(job))
  }

  private line(name: string, { step, steps, loss, activity }: RunState, columns: number): string {
    const state =
      steps === 0
        ? 'starting'
        : `${count(step)}/${count(steps)}${loss === null ? '' : `, loss ${fixed(loss, 3)}`}${activities[activity]}`
    return `  ${truncated(name, columns - 6 - widthOf(state))}  ${this.colors.dim(state)}`
  }

  private print(text: string): void {
    if (this.live) this.live.print(`${text}\n`)
    else print(this.io, `${text}\n`)
  }
}

/**
 * Name of a run, such as `top-1, seed 2`. A learning rate that the event gives, since it is not the configured one of
 * the arm, and the steps of a branch are part of it.
 */
const nameOf = ({ arm, seed, learningRate, branchSteps }: RunName): string =>
  [
    arm,
    ...(learningRate === undefined ? [] : [`rate ${rateText(learningRate)}`]),
    ...(branchSteps === undefined ? [] : [plural(branchSteps, 'step')]),
    `seed ${seed}`,
  ].join(', ')

export function atATime(jobs: number, threads: number): string {
  const each = threads === 1 ? 'one thread each' : `${threads} threads each`
  return jobs === 1 ? `one run, ${each}` : `${jobs} runs, ${each}`
}

const rateText = (rate: number): string => String(Number(rate.toPrecision(4)))

const truncated = (text: string, room: number): string =>
  text.length > room ? `${text.slice(0, Math.max(1, room - 3))}...` : text
