/**
 * A study in four steps, each a contract of its own:
 *
 * 1. a *specification* (what a user writes: `specification.ts`) names arms, seeds and questions;
 * 2. the *runner* trains every arm with every seed and keeps a `RunRecord` of each, the only thing that
 *    later steps look at;
 * 3. the *analysis* compares records by pairs and says what it found, as a `Report`;
 * 4. the report is *rendered*, as HTML and as Markdown.
 *
 * An *arm* is a named set of configuration values. Runs of different arms with the same seed see the
 * same text in the same order and begin from the same parameters where they have the same, so
 * their losses are compared in pairs: arm minus baseline, seed by seed.
 */
import type { RunConfig } from '../config/run-config.ts'
import type { RoutedModule } from '../model/parameters.ts'
import type { CapacityRule } from '../model/routing/contract.ts'
import type { EvalRecord } from '../step/records.ts'
import type { Claim } from './grid/claim.ts'

/** Values of configuration fields by path: `{ 'model.moe.k': 2 }`. */
export type Settings = Readonly<Record<string, unknown>>

/**
 * The learning rate of a run: `common` is the one that its arm is configured with, `best` the one that the
 * sweep of its arm found to be best.
 */
export type Rate = 'common' | 'best'

/** A training to be done; a `trial` is a short one, of a sweep of learning rates. */
export interface Cell {
  readonly arm: string
  readonly seed: number
  readonly rate: Rate | 'trial'
  /** Fully resolved, the seed included. */
  readonly config: RunConfig
  /** Names the result: a hash of all that decides it, so that equal cells of several studies are one run. */
  readonly key: string
}

/** Means over bins of steps; `step` is the last step of a bin. Null: every step of a bin was skipped. */
export interface Curve {
  readonly step: readonly number[]
  readonly loss: readonly (number | null)[]
}

/** One routed sublayer over time; each list has an entry a snapshot. */
export interface LayerHistory {
  readonly layer: number
  /** What the experts are: the feed-forward network, or a projection of attention. */
  readonly module: RoutedModule
  readonly step: readonly number[]
  readonly loadCv: readonly number[]
  readonly loadCvKept: readonly number[]
  readonly dropRate: readonly number[]
  readonly entropy: readonly number[]
  /** Share of all assignments that each expert is given, before drops [snapshots][N]. */
  readonly load: readonly (readonly number[])[]
}

/** Means over the last quarter of the steps. */
export interface RoutingMeans {
  readonly loadCv: number
  readonly loadCvKept: number
  readonly dropRate: number
  readonly deadExperts: number
}

export interface FinishedRun {
  readonly status: 'finished'
  readonly key: string
  /** Of the numerics that it was computed with: see `numerics.ts`. */
  readonly version: number
  readonly seed: number
  readonly config: RunConfig
  /** Version of the program; of each, where a run was continued by another. */
  readonly program: string
  /** CPU, system and Node; of each, where a run was continued on another machine, which rounds otherwise. */
  readonly machine: string
  /** Hash of the text and its tokens. */
  readonly corpus: string
  readonly parameters: number
  readonly activeParameters: number
  /** Tokens trained on. */
  readonly tokens: number
  /** Model FLOPs of the training (6 a weight and token, attention scores, kept assignments only). */
  readonly trainFlops: number
  /** Wall time of all steps, evaluations left out. Other runs ran beside it: step times come from `Timing` alone. */
  readonly seconds: number
  readonly train: Curve
  /**
   * Evaluations while training, on the first held-out batches; `seconds` is the time of the steps until then.
   * `losses` has the loss under each capacity rule, null where it is not finite; `loss` is one of them.
   */
  readonly evaluations: readonly {
    readonly step: number
    readonly seconds: number
    readonly loss: number
    readonly losses: Readonly<Record<CapacityRule, number | null>>
  }[]
  /** At the end, on all that is held out. */
  readonly heldOut: EvalRecord
  /** The same on other text, by the name of the source, and the hashes of those texts. */
  readonly elsewhere: Readonly<Record<string, EvalRecord>>
  readonly elsewhereCorpora: Readonly<Record<string, string>>
  readonly routing: RoutingMeans
  readonly layers: readonly LayerHistory[]
  /** Nats that a token's loss gains from later tokens of its own text, under the capacity of training and of evaluation; null: none. */
  readonly leak: { readonly train: number | null; readonly eval: number | null }
  /** Library of kernels and its version, precision and threads. */
  readonly engine: string
}

export interface FailedRun {
  readonly status: 'failed'
  readonly key: string
  readonly seed: number
  readonly config: RunConfig
  /** One line. */
  readonly error: string
}

export type RunRecord = FinishedRun | FailedRun

/** Step time of an arm, alone on the machine, by turns with the others. */
export interface Timing {
  readonly arm: string
  /** Median milliseconds of a training step over all turns, and each turn's median. */
  readonly stepMs: number
  readonly turnsMs: readonly number[]
  readonly engine: string
}

/** What one expert serves: see `specialisation`. */
export interface ExpertProfile {
  readonly layer: number
  readonly expert: number
  /** Share of the kept assignments of its layer. */
  readonly share: number
  /** The tokens it takes most above their usual share: text, count, and share of the token's occurrences. */
  readonly tokens: readonly { readonly text: string; readonly count: number; readonly share: number }[]
  /** Share of its tokens by period and by party, over the share of those in the corpus (1 = as usual). */
  readonly periods: readonly number[]
  readonly parties: readonly number[]
}

/** Which experts serve which documents and tokens, of one run. */
export interface Specialisation {
  readonly arm: string
  readonly seed: number
  /** Text that was looked at, and its tokens. */
  readonly source: string
  readonly tokens: number
  readonly periods: readonly string[]
  readonly parties: readonly string[]
  /**
   * Mutual information of expert and year (by `periods`), party, token, in nats, mean over layers (and
   * prototypes), with the same after the labels of documents were shuffled: what chance and finite counts give.
   * All of the text is looked at, also what was trained on.
   */
  readonly information: readonly {
    readonly of: 'year' | 'party' | 'token'
    readonly nats: number
    readonly shuffled: number
    /** Entropy of the expert, the most there can be. */
    readonly entropy: number
  }[]
  readonly experts: readonly ExpertProfile[]
}

/** One comparison: an arm against its baseline. */
export interface Contrast {
  readonly baseline: string
  readonly arm: string
}

/** What a question looks at, besides the differences of its contrasts. */
export const views = [
  'plain',
  'imbalance',
  'capacity',
  'prototypes',
  'attention',
  'scale',
  'convergence',
  'witness',
] as const
export type View = (typeof views)[number]

export interface Question {
  readonly id: string
  readonly title: string
  /** What is asked and how it is measured, in a sentence or two. */
  readonly about: string
  readonly view: View
  readonly contrasts: readonly Contrast[]
  /** What the literature says of it: the report answers each. */
  readonly claims?: readonly Claim[]
}

/**
 * The runs that show, before all others, which effect the seeds of the study can detect.
 */
export interface Pilot {
  readonly baseline: string
  readonly arm: string
  /** Held-out loss of the arm minus that of the baseline, by seed, nats a token. */
  readonly differences: readonly number[]
  /** Standard deviation of the differences. */
  readonly deviation: number
  /** Seeds of the study. */
  readonly seeds: number
  /** Smallest true effect that the study finds with 80 % power at the 5 % level, two-sided, paired; nats a token. */
  readonly detectable: number
}

/** A pilot as it is reported before the other runs. */
export interface PilotResult extends Pilot {
  /** Seeds that an effect of half the detectable size would need. */
  readonly seedsForHalf: number
}

/** The sweep of learning rates of an arm, by short trainings. */
export interface Tuning {
  readonly arm: string
  /** Steps of each trial. */
  readonly budgetSteps: number
  /** By rising learning rate; `loss` is the mean over the seeds of the sweep, null where a trial failed. */
  readonly trials: readonly { readonly learningRate: number; readonly loss: number | null }[]
  /** The learning rate with the lowest loss. */
  readonly best: number
}

/** A study, resolved: what the analysis is given. */
export interface StudyResults {
  readonly name: string
  readonly title: string
  /** The command that made it. */
  readonly command: string
  readonly seeds: readonly number[]
  /** Settings of every arm, besides those that all share. */
  readonly arms: Readonly<Record<string, Settings>>
  readonly questions: readonly Question[]
  /** Capacity rule of the held-out losses that verdicts are about. */
  readonly capacity: CapacityRule
  /** Null while fewer than two seeds of its arms are finished. */
  readonly pilot: Pilot | null
  /** Sweeps that are done. */
  readonly tuning: readonly Tuning[]
  /** Cells with their records; null: not run yet. An arm whose best rate is the common one has no others. */
  readonly cells: readonly {
    readonly arm: string
    readonly seed: number
    readonly rate: Rate
    readonly record: RunRecord | null
  }[]
  readonly timings: readonly Timing[]
  readonly specialisations: readonly Specialisation[]
  /** CPU, threads, system; one line each where records differ. */
  readonly machine: string
}
