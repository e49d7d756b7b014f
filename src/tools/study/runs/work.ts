/**
 * The work of a run and the seconds that it takes at a given pace: its steps, the evaluations during training and
 * after it, and the rest (starting, loading, saving). This arithmetic is the same for runs before they begin and for
 * the rest of a running one.
 */
import { type RunConfig, sequencesOfPass } from '../../../core/config/run-config.ts'
import { describeModel } from '../../../core/model/describe.ts'
import { isLeakMeasured } from '../../../train/measure/leak.ts'
import { decayStart } from '../../../train/step/optimizer/schedule.ts'
import type { Cell } from '../contract.ts'
import { firstStepOf, isShort, stepsOf } from '../grid/cells.ts'
import { corpusOf } from './corpora.ts'
import type { Pace } from './pace.ts'

/** Maximum number of tokens of another text that a run is evaluated on: enough for two digits of the loss. */
export const ELSEWHERE_TOKENS = 50_000

/** Number of held-out batches that are evaluated twice. The gain is a difference on the same text, so a few suffice. */
export const LEAK_BATCHES = 32

/** Seconds by their cause. */
export interface Seconds {
  /** Training steps. */
  readonly training: number
  /** Evaluations on held-out and other text, during and after training, and the specialisation of experts. */
  readonly evaluation: number
  /** Starting processes, compiling, loading and saving. */
  readonly starting: number
}

export const totalOf = ({ training, evaluation, starting }: Seconds): number => training + evaluation + starting

export const addSeconds = (a: Seconds, b: Seconds): Seconds => ({
  training: a.training + b.training,
  evaluation: a.evaluation + b.evaluation,
  starting: a.starting + b.starting,
})

export const noSeconds: Seconds = { training: 0, evaluation: 0, starting: 0 }

/** What the study measures of a run besides its held-out loss. */
export interface Extras {
  /** Number of other texts that every run is evaluated on. */
  readonly elsewhere: number
  /** Keys of the runs whose expert specialisation is measured. */
  readonly specialised: ReadonlySet<string>
}

/**
 * Names everything that decides the speed of a training, apart from the threads that the study gives it: two
 * configurations with equal shapes share a {@link Pace}.
 */
export function shapeOf(config: RunConfig): string {
  const { model, train, parallel, runtime } = config
  const { batch, microBatches, optimizer, freeze } = train
  const moe = model.moe && { ...model.moe, hashSeed: 0 }
  const engine = { ...runtime, threads: null }
  return JSON.stringify([{ ...model, moe }, batch, microBatches, optimizer, freeze, parallel, engine, corpusOf(config)])
}

/**
 * Seconds of a run, or of its rest.
 * @param from Step after which it goes on; default: its first step, so that starting counts too.
 */
export function secondsOf(cell: Cell, pace: Pace, extras: Extras, from?: number): Seconds {
  const done = from ?? firstStepOf(cell)
  const last = stepsOf(cell)
  const token = evaluatedTokenOf(cell.config, pace)
  const load = pace.load ?? pace.start
  const after = afterTraining(cell, pace, extras)
  const evaluations = evaluationsIn(cell, done)
  return {
    training: Math.max(0, last - done) * pace.step,
    evaluation: evaluations * (pace.evaluation + evaluatedBy(cell.config, pace) * token) + after.tokens * token,
    starting: (from === undefined ? pace.start : 0) + savesIn(cell, done) * (pace.save ?? 0) + after.loads * load,
  }
}

/** Number of evaluations during training after step `done`. */
export function evaluationsIn(cell: Cell, done: number): number {
  const { steps, evalEvery, evalBatches } = cell.config.train
  const last = stepsOf(cell)
  if (last <= done) return 0
  // A rung of a search ends like a training that is stopped, without an evaluation. So does a training whose evaluations
  // read all held-out text, which is evaluated after it anyway.
  const isLast = last === steps && evalBatches > 0
  const regular = Math.floor((last - 1) / evalEvery) - Math.floor(done / evalEvery)
  return Math.max(0, regular) + (isLast ? 1 : 0)
}

function savesIn(cell: Cell, done: number): number {
  const { train } = cell.config
  const last = stepsOf(cell)
  if (last <= done) return 0
  const spared = decayStart(train)
  const isSpared = spared !== null && spared > done && spared < last && spared % train.checkpointEvery !== 0
  const regular = Math.floor((last - 1) / train.checkpointEvery) - Math.floor(done / train.checkpointEvery)
  return Math.max(0, regular) + (isSpared ? 1 : 0) + 1
}

/** Tokens of one evaluation during training: `train.evalBatches` caps them. */
export function evaluatedBy({ train, model }: RunConfig, { heldOutTokens }: Pick<Pace, 'heldOutTokens'>): number {
  const limit = train.evalBatches * train.batch * model.sequence
  return limit === 0 ? heldOutTokens : Math.min(limit, heldOutTokens)
}

/** Tokens that are evaluated after the last step, and the number of times that the training is loaded for that. */
function afterTraining(cell: Cell, pace: Pace, { elsewhere, specialised }: Extras): { tokens: number; loads: number } {
  const { key, config } = cell
  const { model } = config
  if (isShort(cell)) return { tokens: pace.heldOutTokens, loads: 1 }
  const sequences = sequencesOfPass(config)
  const leaks = (['train', 'eval'] as const).filter((rule) => isLeakMeasured(model, rule, sequences)).length
  const isSpecialised = specialised.has(key)
  return {
    // The gain from later tokens is the difference of two evaluations, each under one of the rules.
    tokens:
      pace.heldOutTokens +
      elsewhere * ELSEWHERE_TOKENS +
      (2 * leaks * LEAK_BATCHES * sequences * model.sequence) / rulesOf(config) +
      (isSpecialised ? (pace.trainTokens + pace.heldOutTokens) / rulesOf(config) : 0),
    loads: 1 + elsewhere + (leaks > 0 ? 1 : 0) + (isSpecialised ? 1 : 0),
  }
}

/** Seconds of a held-out token. If none was evaluated yet: a forward pass is a third of a step, once for each rule. */
function evaluatedTokenOf(config: RunConfig, { step, evaluatedToken }: Pace): number {
  return evaluatedToken ?? (rulesOf(config) * step) / (3 * config.train.batch * config.model.sequence)
}

/** Number of capacity rules that an evaluation computes separately: without a capacity all three are equal. */
const rulesOf = ({ model }: RunConfig): number => (model.moe === null || model.moe.capacity === 'none' ? 1 : 3)

/** Model FLOPs of a step, with nothing dropped. */
const flopsOfStep = ({ model, train }: RunConfig): number =>
  describeModel(model).flopsPerToken * train.batch * model.sequence

/** The pace of a configuration that was not measured, from the pace of another one: in proportion to model FLOPs. */
function scaledPace(pace: Pace, from: RunConfig, to: RunConfig): Pace {
  const ratio = flopsOfStep(to) / flopsOfStep(from)
  const perToken = describeModel(to.model).flopsPerToken / describeModel(from.model).flopsPerToken
  return {
    ...pace,
    step: pace.step * ratio,
    evaluatedToken: pace.evaluatedToken === null ? null : pace.evaluatedToken * perToken,
  }
}

/** The paces of all shapes that were measured. */
export class Paces {
  private readonly measured = new Map<string, { readonly config: RunConfig; readonly pace: Pace }>()

  set(config: RunConfig, pace: Pace): void {
    this.measured.set(shapeOf(config), { config, pace })
  }

  /**
   * The pace of a configuration; if its shape was not measured, it is scaled from the measured shape whose step has the
   * most similar number of FLOPs. It is null if no shape was measured.
   */
  of(config: RunConfig): Pace | null {
    const own = this.measured.get(shapeOf(config))
    if (own) return own.pace
    const flops = flopsOfStep(config)
    const distance = (other: RunConfig) => Math.abs(Math.log(flopsOfStep(other) / flops))
    const [nearest] = [...this.measured.values()].toSorted((a, b) => distance(a.config) - distance(b.config))
    return nearest ? scaledPace(nearest.pace, nearest.config, config) : null
  }
}
