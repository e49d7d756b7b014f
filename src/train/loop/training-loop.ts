/**
 * The core of a training, the same in Node and in a page: a step with its report and the rule about steps that are not
 * finite, an evaluation, a checkpoint. The {@link Place} decides where logs and checkpoints go; `run-to-end.ts`, or a
 * page, decides when to evaluate and to save.
 */
import { sequencesOfPass } from '../../core/config/run-config.ts'
import type { ModelConfig } from '../../core/model/config.ts'
import type { LayerCounts } from '../../core/model/routing/statistics.ts'
import { joinWords } from '../../core/text/numbers.ts'
import type { Batch } from '../data/batches.ts'
import { separatorOf } from '../data/first-visible.ts'
import { measureDeniedLeak } from '../measure/leak.ts'
import type { Ceiling } from '../measure/mfu.ts'
import { isAborted } from '../run/agreement.ts'
import { nonFiniteMessage } from '../run/non-finite.ts'
import type { RunLog } from '../run/run-log.ts'
import { Evaluator } from '../step/evaluation/evaluation.ts'
import type { EvalRecord, TrainRecord } from '../step/metrics/records.ts'
import { decayStart } from '../step/optimizer/schedule.ts'
import { growthOf } from '../step/ranks/growing-program.ts'
import type { StepOutcome } from '../step/trainer.ts'
import { Batches } from './batches.ts'
import type { RanksSummary, TrainEvent } from './events.ts'
import { findNonFinite, tooManyNonFinite } from './find-non-finite.ts'
import type { TrainingProgram } from './program.ts'
import { RankObserver } from './rank-observer.ts'
import { Reporter } from './reporter.ts'
import { RouterHealth } from './router-health.ts'

/** Held-out batches that are read twice to test what parts of the user's own see: before a step, and in an evaluation. */
const SIGHT_BATCHES = { start: 1, evaluation: 2 } as const

/** A step that was skipped, since its loss or gradient is not finite. */
export interface SkippedStep {
  readonly step: number
  readonly outcome: StepOutcome
  readonly batch: Batch
  /** The tensor in which it went wrong, for people; undefined if no such tensor was found. */
  readonly where: string | undefined
}

export interface DoneStep {
  readonly record: TrainRecord
  /** Counts of each router. */
  readonly layers: readonly LayerCounts[]
}

/** Which checkpoints stay when a new one is saved. */
export interface Kept {
  /** Number of the newest checkpoints that stay, including the new one; infinity for all. */
  readonly keep: number
  /** The step of a checkpoint that always stays: branches of a `wsd` run begin there. */
  readonly spared: number | null
}

/** Services that a training gets from the place in which it runs: a run directory in Node, or the memory of a page. */
export interface Place<Checkpoint> {
  /** The logs of the run; null on all ranks but the first. */
  readonly log: RunLog | null
  readonly emit: (event: TrainEvent) => void
  /** Keeps the batch of a skipped step, and returns where it is, for the end of a message. All ranks call it. */
  readonly keepBatch?: (skipped: SkippedStep) => Promise<string>
  /** Saves the state after a step. Parameters are settled, and do not change meanwhile. */
  readonly save: (step: number, kept: Kept) => Promise<Checkpoint>
}

/** The parts of the user's own whose word about the tokens that they see is tested. */
const deniersOf = ({ moe, layer }: ModelConfig): string =>
  joinWords(
    [...(moe?.router === 'own' ? [`the router ${moe.own}`] : []), ...(layer ? [`the layer ${layer.own}`] : [])],
    'or',
  )

/** All ranks of a training call the same methods in the same order. */
export class TrainingLoop<Checkpoint> {
  readonly report: Reporter
  private readonly program: TrainingProgram
  private readonly place: Place<Checkpoint>
  private readonly batches: Batches
  private readonly observer: RankObserver
  private evaluator: Evaluator | null = null
  private readonly health: RouterHealth
  private isSightTested = false
  private isSightDenied = false
  private done: number

  /**
   * @param ceiling The matmul rate of the machine, already measured.
   * @param done Number of steps done; the program has the state after them.
   */
  constructor(program: TrainingProgram, ceiling: Ceiling, done: number, place: Place<Checkpoint>) {
    const { config, data, ranks, trainer, replay } = program
    this.program = program
    this.place = place
    this.done = done
    this.report = new Reporter(config, place.log, ceiling, place.emit)
    this.batches = new Batches(data, config, replay)
    this.health = new RouterHealth(config.model.moe)
    this.observer = new RankObserver(config, ranks, trainer.allToAlls, {
      warn: (message) => this.warn(message),
      notice: (message) => place.emit({ kind: 'notice', message }),
      observed: (step) => this.report.ranks(step),
    })
  }

  /** Number of steps done. */
  get steps(): number {
    return this.done
  }

  /** Whether all `train.steps` are done. */
  get isFinished(): boolean {
    return this.done >= this.program.config.train.steps
  }

  /** Whether nothing is left to do, not even an evaluation that was stopped. */
  get isComplete(): boolean {
    return this.isFinished && !this.program.state.evaluationDue
  }

  /** Whether any rank has been asked to stop. Call it before each step and after the last. */
  isStopped(signal: { readonly aborted: boolean } | undefined): Promise<boolean> {
    const { trainer } = this.program
    return this.observer.isStopped(signal, growthOf([...trainer.passes, ...(this.evaluator?.programs ?? [])]))
  }

  /**
   * Does the next step.
   * @throws RunError if the log cannot be written, or after `train.maxNonFinite` skipped steps in a row
   */
  async step(): Promise<DoneStep> {
    const { trainer, state } = this.program
    const step = this.done + 1
    const batch = this.batches.of(step)
    const started = performance.now()
    const computing = trainer.step(step, batch)
    try {
      this.batches.load(step + 1)
      this.observer.report()
    } catch (error) {
      // Nothing may be released while the step computes. This failure is reported, not a failure of the step.
      await computing.catch(() => undefined)
      throw error
    }
    const outcome = await computing
    const milliseconds = performance.now() - started
    // All ranks have the counts of all; the first one speaks.
    const health = this.health.add(outcome.layers)
    const record = this.report.step(step, outcome, milliseconds, health?.faults)
    this.observer.stepDone(step, outcome)
    if (this.place.log !== null) for (const message of health?.warnings ?? []) this.warn(message)
    this.done = step
    state.evaluationDue = false
    state.nonFiniteInRow = outcome.skipped ? state.nonFiniteInRow + 1 : 0
    if (outcome.skipped) await this.endAfterSkipped(outcome, batch)
    return { record, layers: outcome.layers }
  }

  /** Warns of a skipped step. @throws RunError if it is the last that `train.maxNonFinite` allows */
  private async endAfterSkipped(outcome: StepOutcome, batch: Batch): Promise<void> {
    const { config, store, ranks, state } = this.program
    const where = await findNonFinite(store, ranks, outcome.passLosses)
    const kept = await this.place.keepBatch?.({ step: this.done, outcome, batch, where })
    const text = nonFiniteMessage(this.done, outcome, where)
    const message = kept === undefined ? text : `${text}, ${kept}`
    this.warn(message)
    const { maxNonFinite } = config.train
    if (state.nonFiniteInRow >= maxNonFinite) throw tooManyNonFinite(message, maxNonFinite)
  }

  /** Compiles the evaluation, unless it is compiled already. {@link evaluate} does so too. */
  async compileEvaluation(): Promise<Evaluator> {
    const { runtime, config, store, data, ranks } = this.program
    const { model, train } = config
    const separator = separatorOf(config.data, data.tokenizer)
    this.evaluator ??= await Evaluator.compile(
      runtime,
      model,
      store,
      sequencesOfPass(config),
      train.seed,
      separator,
      ranks,
    )
    return this.evaluator
  }

  /**
   * Evaluates on `train.evalBatches` batches of held-out text, under every capacity rule.
   * @param signal Ends the evaluation between batches: then it stays due (`RunState.evaluationDue`), and the result is
   * null.
   */
  async evaluate(): Promise<EvalRecord>
  async evaluate(signal: { readonly aborted: boolean } | undefined): Promise<EvalRecord | null>
  async evaluate(signal?: { readonly aborted: boolean }): Promise<EvalRecord | null> {
    const { config, data, trainer, state, ranks } = this.program
    const { evalBatches, batch } = config.train
    state.evaluationDue = true
    if (signal?.aborted && !ranks) return null
    const evaluator = await this.compileEvaluation()
    await trainer.settle()
    const passes = evalBatches * (batch / sequencesOfPass(config))
    const result = await evaluator.run(data, 'eval', passes, null, () => isAborted(ranks, signal))
    if (!result) return null
    state.evaluationDue = false
    return this.report.evaluated(this.done, result.evaluation, await this.laterTokensGain())
  }

  /**
   * Tests what the router or the layer of the user's own says about the tokens that it sees, on a held-out batch, and
   * warns if that is wrong. Call it before the first step: a training of hours should not find it out at its end.
   */
  async testSight(): Promise<void> {
    await this.deniedLeak(SIGHT_BATCHES.start)
  }

  /**
   * The same test, once in a process, in an evaluation: parameters that begin at zero may have hidden later tokens.
   * @returns nats a token that the loss gains from later tokens; null if it gains nothing, or is not tested
   */
  private async laterTokensGain(): Promise<number | null> {
    if (this.isSightTested) return null
    this.isSightTested = true
    return this.deniedLeak(SIGHT_BATCHES.evaluation)
  }

  /** Measures on some batches, and warns the first time that the gain is not 0. Ranks do not test it. */
  private async deniedLeak(limit: number): Promise<number | null> {
    const { runtime, config, store, data, ranks } = this.program
    if (ranks) return null
    const { model, train } = config
    const separator = separatorOf(config.data, data.tokenizer)
    const options = { batch: sequencesOfPass(config), limit, seed: train.seed, separator }
    const gain = await measureDeniedLeak(runtime, model, store, data, options)
    if (gain !== null && !this.isSightDenied) {
      this.isSightDenied = true
      this.warn(
        `${deniersOf(model)} sees later tokens, although its "sees" ("token" if it has none) denies it, so losses are no losses of a causal model: ` +
          `other text after the middle of held-out texts changes the loss before it by ${Math.abs(gain).toPrecision(2)} nats a ` +
          'token (stop, and find the mistake with: choir check FILE; a part that is meant to see them has sees: "batch")',
      )
    }
    return gain
  }

  /** Saves the state after the last step. */
  async checkpoint(): Promise<Checkpoint> {
    const { config, trainer, state } = this.program
    await trainer.settle()
    // While steps are skipped, their checkpoints must not push out the checkpoints from before.
    const keep = state.nonFiniteInRow > 0 ? Number.POSITIVE_INFINITY : config.train.keep
    return this.place.save(this.done, { keep, spared: decayStart(config.train) })
  }

  /** Summary of the ranks so far; null on ranks other than the first, and without other ranks. */
  ranks(): RanksSummary | null {
    return this.observer.summary()
  }

  /** Frees the programs of evaluations. */
  release(): void {
    this.evaluator?.release()
  }

  private warn(message: string): void {
    this.place.emit({ kind: 'warning', message })
  }
}
