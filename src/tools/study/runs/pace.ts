/**
 * How fast a training goes on this machine. Think of a stopwatch beside the events of a training: the time from one
 * event to the next is the time of a step, of an evaluation, or of a checkpoint. The dry run of a study and the time
 * left of a running study use the same stopwatch.
 */
import { median } from '../../../core/averages.ts'
import type { TrainEvent } from '../../../train/loop/events.ts'

/** Measured times of a training, in seconds. They hold for all trainings with the same `shapeOf`. */
export interface Pace {
  /** Seconds of a training step, with its batch and its logs. */
  readonly step: number
  /** Seconds to evaluate one held-out token under all capacity rules; null if there was no evaluation yet. */
  readonly evaluatedToken: number | null
  /** Seconds of an evaluation during training besides those of its tokens. A running training counts them in its tokens. */
  readonly evaluation: number
  /** Seconds from the start of the process to the first step; includes compiling the model and its evaluation. */
  readonly start: number
  /** Seconds to load a finished training for an evaluation; null if there was no such evaluation yet. */
  readonly load: number | null
  /** Seconds to save a checkpoint; null if there was no checkpoint yet. */
  readonly save: number | null
  /** Tokens of the text that is trained on, and of the held-out text. */
  readonly trainTokens: number
  readonly heldOutTokens: number
}

/** Number of newest times of which the median is taken, since the speed of a machine drifts. */
const RECENT = 50

/** Measures the {@link Pace} of a training from its events, in the process of the training. */
export class Stopwatch {
  private readonly now: () => number
  private last: { readonly kind: TrainEvent['kind']; readonly at: number } | null = null
  private trained = 0
  private start = 0
  private load: number | null = null
  private readonly steps: number[] = []
  private readonly evaluatedTokens: number[] = []
  private readonly saves: number[] = []
  private text = { trainTokens: 0, heldOutTokens: 0 }
  /** Total seconds of steps and of evaluations. */
  readonly total = { steps: 0, evaluations: 0 }

  /** @param now Seconds since the process started. */
  constructor(now: () => number = () => performance.now() / 1000) {
    this.now = now
  }

  event(event: TrainEvent): void {
    if (event.kind === 'start') this.text = { trainTokens: event.trainTokens, heldOutTokens: event.heldOutTokens }
    else if (event.kind === 'train') this.step(event.step_ms / 1000)
    else if (event.kind === 'eval') {
      const seconds = this.sinceLast()
      this.evaluatedTokens.push(seconds / event.evaluated_tokens)
      this.total.evaluations += seconds
      this.note('eval')
    } else if (event.kind === 'checkpoint') {
      this.saves.push(this.sinceLast())
      this.note('checkpoint')
    }
  }

  /** Adds an evaluation of the finished training. @param seconds Its time, from the loading of the training on. */
  evaluated(seconds: number, tokens: number): void {
    this.load = Math.max(0, seconds - tokens * (typical(this.evaluatedTokens) ?? 0))
  }

  /** The times so far; null before the end of the second step, because the first takes much longer. */
  get pace(): Pace | null {
    const step = typical(this.steps)
    if (step === null || this.trained < 2) return null
    const evaluatedToken = typical(this.evaluatedTokens)
    const { start, load, text } = this
    return { step, evaluatedToken, evaluation: 0, start, load, save: typical(this.saves), ...text }
  }

  /** @param computing Seconds of the step itself, without its batch and its logs. */
  private step(computing: number): void {
    const afterStep = this.last?.kind === 'train'
    // The evaluation is compiled after the first step.
    if (this.trained === 0) this.start = Math.max(0, this.now() - computing)
    else if (this.trained === 1 && afterStep) this.start += Math.max(0, this.sinceLast() - computing)
    const seconds = this.trained > 1 && afterStep ? this.sinceLast() : computing
    this.steps.push(seconds)
    this.total.steps += seconds
    this.trained++
    this.note('train')
  }

  private note(kind: TrainEvent['kind']): void {
    this.last = { kind, at: this.now() }
  }

  private sinceLast(): number {
    return this.last === null ? 0 : this.now() - this.last.at
  }
}

/** The median of the newest times without the very first, which is longer since memory is then used for the first time. */
function typical(times: readonly number[]): number | null {
  if (times.length === 0) return null
  return median(times.length === 1 ? times : times.slice(Math.max(1, times.length - RECENT)))
}
