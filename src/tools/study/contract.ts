/**
 * A study has four steps with a contract between them:
 *
 * 1. A *specification* (written by the user: `specification.ts`) names arms, seeds and questions.
 * 2. The *runner* trains every arm with every seed and keeps a `RunRecord` of each run. Later steps read nothing
 *    else.
 * 3. The *analysis* compares records in pairs and returns a `Report`.
 * 4. The report is *rendered* as HTML and as Markdown.
 *
 * An *arm* is a named set of configuration values. Runs of different arms with the same seed see the same
 * text in the same order, and parameters that they have in common start from the same values. So losses
 * are compared in pairs: arm minus baseline, seed by seed.
 */

import type { RunConfig } from '../../core/config/run-config.ts'
import type { RoutedModule } from '../../core/model/config/moe-config.ts'
import type { CapacityRule } from '../../core/model/routing/contract.ts'
import type { EvalRecord } from '../../train/step/metrics/records.ts'
import type { Claim } from './claim.ts'
import type { PredictionSpecification, Quantity, Searched, Settings, View } from './specification.ts'
import type { Intervals } from './statistics.ts'

/** A field of an arm that was solved for, so that the arm has as much of a quantity as another arm: see `grid/matches.ts`. */
export interface Match {
  readonly arm: string
  /** The arm that it is matched to. */
  readonly of: string
  readonly equal: Quantity
  /** Path of the field, and its solved value. */
  readonly by: string
  readonly value: number
  /** The quantity of the other arm, and of this arm with the solved value: FLOPs, parameters or bytes. */
  readonly target: number
  readonly reached: number
}

/** The learning rate of a run: `common` is the rate that its arm is configured with, `best` the best of its sweep. */
export type Rate = 'common' | 'best'

/**
 * One training of the study. A `trial` is a short training of a learning-rate sweep. `confirm` is a whole training with
 * a seed that the study does not have: it shows whether the rate that the trials prefer is better.
 */
export interface Cell {
  readonly arm: string
  readonly seed: number
  readonly rate: Rate | 'trial' | 'confirm'
  /** The complete configuration, including the seed. */
  readonly config: RunConfig
  /** Set in a rung of a search: the training stops after `steps` steps, and continues one that stopped after `from`. */
  readonly budget?: { readonly steps: number; readonly from: number }
  /** Set in a study with branches. */
  readonly branch?: Branch
  /** Identifies the result: a hash of all that decides it, so equal cells of several arms or studies are one run. */
  readonly key: string
}

/** A length of training, if an arm has several: see `grid/cells.ts`. */
export interface Branch {
  /** Share of the steps of the arm; 1 is the whole run. */
  readonly share: number
  /** The next shorter branch, which this one continues from the start of its decay; null for the shortest. */
  readonly after: Cell | null
}

/** Mean losses over bins of steps; `step` is the last of a bin. A loss is null if every step of the bin was skipped. */
export interface Curve {
  readonly step: readonly number[]
  readonly loss: readonly (number | null)[]
}

/** One routed sublayer over time; each list has one entry per snapshot. */
export interface LayerHistory {
  readonly layer: number
  /** The module that the experts replace: the feed-forward network, or a projection of attention. */
  readonly module: RoutedModule
  readonly step: readonly number[]
  readonly loadCv: readonly number[]
  readonly loadCvKept: readonly number[]
  readonly dropRate: readonly number[]
  readonly entropy: readonly number[]
  /** Mean total gate of a token; missing in records of earlier versions. */
  readonly gate?: readonly number[]
  /** Share of all assignments that go to each expert, before drops [snapshots][N]. */
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
  /** Version of the numerics that computed it: see `grid/numerics.ts`. */
  readonly version: number
  readonly seed: number
  readonly config: RunConfig
  /** Version of the program; all versions if another one continued the run. */
  readonly program: string
  /** CPU, system and Node; every machine is listed if another one, which rounds differently, continued the run. */
  readonly machine: string
  /** Hash of the text and its tokens. */
  readonly corpus: string
  readonly parameters: number
  readonly activeParameters: number
  /** Tokens trained on. */
  readonly tokens: number
  /** Model FLOPs of the training: 6 per weight and token, plus attention scores; only kept assignments count. */
  readonly trainFlops: number
  /** Wall time of all steps, without evaluations. Other runs ran at the same time: for step times use `Timing`. */
  readonly seconds: number
  readonly train: Curve
  /**
   * Evaluations during training, on the first held-out batches; `seconds` is the time of the steps so far.
   * `losses` has the loss under each capacity rule, null if it is not finite; `loss` is one of them.
   */
  readonly evaluations: readonly {
    readonly step: number
    readonly seconds: number
    readonly loss: number
    readonly losses: Readonly<Record<CapacityRule, number | null>>
  }[]
  /** The final evaluation, on all held-out text. */
  readonly heldOut: EvalRecord
  /** The final evaluation on other texts, by name of the source, and the hashes of these texts. */
  readonly elsewhere: Readonly<Record<string, EvalRecord>>
  readonly elsewhereCorpora: Readonly<Record<string, string>>
  readonly routing: RoutingMeans
  readonly layers: readonly LayerHistory[]
  /**
   * Nats a token that the model gains from later tokens of the same text, at the capacity of training and of
   * evaluation; null if it sees no later tokens.
   */
  readonly leak: { readonly train: number | null; readonly eval: number | null }
  /** Kernel library with its version, precision and threads. */
  readonly engine: string
}

export interface FailedRun {
  readonly status: 'failed'
  readonly key: string
  readonly seed: number
  readonly config: RunConfig
  /** The message of the error, in one line. */
  readonly error: string
}

export type RunRecord = FinishedRun | FailedRun

/** Step time of an arm, measured with nothing else running, the arms taking turns. */
export interface Timing {
  readonly arm: string
  /** Median milliseconds of a training step over all turns, and each turn's median. */
  readonly stepMs: number
  readonly turnsMs: readonly number[]
  readonly engine: string
  /** CPU, system and Node; all arms are timed on one machine. Earlier results lack it. */
  readonly machine?: string
}

/** The tokens and documents that one expert computes: see `specialisation`. */
export interface ExpertProfile {
  readonly layer: number
  readonly expert: number
  /** Share of the kept assignments of its layer. */
  readonly share: number
  /** Its most typical tokens: text, count, and share of the token's occurrences. */
  readonly tokens: readonly { readonly text: string; readonly count: number; readonly share: number }[]
  /** Share of each period and party in its tokens, over the share in the corpus (1: no preference). */
  readonly periods: readonly number[]
  readonly parties: readonly number[]
}

/** Which experts of one run compute which documents and tokens. */
export interface Specialisation {
  readonly arm: string
  readonly seed: number
  /** The text that was traced, and its number of tokens. */
  readonly source: string
  readonly tokens: number
  readonly periods: readonly string[]
  readonly parties: readonly string[]
  /**
   * Mutual information of the expert and the year (by `periods`), party or token, in nats, mean over layers and
   * prototypes. `shuffled` is the information after shuffling the labels: the part due to chance and finite counts.
   * All of the text is covered, including the text that was trained on.
   */
  readonly information: readonly {
    readonly of: 'year' | 'party' | 'token'
    readonly nats: number
    readonly shuffled: number
    /** Entropy of the expert, the upper bound of `nats`. */
    readonly entropy: number
  }[]
  readonly experts: readonly ExpertProfile[]
}

/** One comparison: an arm against its baseline. */
export interface Contrast {
  readonly baseline: string
  readonly arm: string
}

export interface Question {
  readonly id: string
  readonly title: string
  /** The question and how it is measured, in a sentence or two. */
  readonly about: string
  readonly view: View
  readonly contrasts: readonly Contrast[]
  /** Claims of the literature; the report answers each. */
  readonly claims?: readonly Claim[]
}

/** Runs that come first and show which effect the seeds of the study can detect. */
export interface Pilot {
  readonly baseline: string
  readonly arm: string
  /** Held-out loss of the arm minus the loss of the baseline, for each seed, in nats a token. */
  readonly differences: readonly number[]
  /** Standard deviation of the differences. */
  readonly deviation: number
  /** Number of seeds of the study. */
  readonly seeds: number
  /** Smallest true effect that the study finds with 80 % power at the 5 % level, two-sided, paired; nats a token. */
  readonly detectable: number
}

/** A pilot as it is reported before the other runs. */
export interface PilotResult extends Pilot {
  /** Number of seeds that would detect an effect of half the detectable size. */
  readonly seedsForHalf: number
}

/** The learning-rate sweep of an arm, in short trainings. */
export interface Tuning {
  readonly arm: string
  /** Steps of each trial. */
  readonly budgetSteps: number
  /** Trials by rising learning rate; `loss` is the mean over the seeds of the sweep, null if a trial failed. */
  readonly trials: readonly { readonly learningRate: number; readonly loss: number | null }[]
  /** The learning rate with the lowest loss; the arm's own unless that is worse by more than the margin. */
  readonly best: number
  /**
   * Whether whole runs with seeds of their own have a lower loss at `best` than at the arm's own rate. Null until they
   * are done; absent if `best` is the arm's own rate. The arm is compared at `best` only if it is confirmed.
   */
  readonly confirmed?: boolean | null
}

/** One round of a search. */
export interface Rung {
  /** Number of steps that a training has done at the end of the rung. */
  readonly steps: number
  readonly configurations: number
}

/** A search by successive halving: which configurations it tried, and how far each of them came. */
export interface SearchResults {
  /** Settings that were searched: the ends of a range with its scale, or the choices. */
  readonly settings: Readonly<Record<string, Searched>>
  readonly eta: number
  /** Seed of the draws. */
  readonly seed: number
  /** The preset or file that all configurations start from, and the settings that they share. */
  readonly base: string
  readonly set: Settings
  /** Rungs by rising steps, including those whose configurations are still unknown. */
  readonly rungs: readonly SearchRung[]
}

export interface SearchRung {
  readonly steps: number
  /** Number of configurations that the rung has when the rung before it is complete. */
  readonly configurations: number
  /**
   * The configurations that are known, each with its held-out loss in nats a token. The loss is null if the training
   * failed or its loss is not finite, and undefined if the training has not run yet.
   */
  readonly entries: readonly { readonly arm: string; readonly loss: number | null | undefined }[]
}

/** A resolved study: the input of the analysis. */
export interface StudyResults {
  readonly name: string
  readonly title: string
  /** The command that ran the study. */
  readonly command: string
  readonly seeds: readonly number[]
  /** Settings of each arm, without the settings that all arms share. */
  readonly arms: Readonly<Record<string, Settings>>
  /** Fields of arms that were solved for; `arms` has their values. */
  readonly matches: readonly Match[]
  readonly questions: readonly Question[]
  /** Capacity rule of the held-out losses that verdicts use. */
  readonly capacity: CapacityRule
  /** Intervals over seeds of a complete study; default: Student's. Incomplete comparisons always have `anytime`. */
  readonly intervals?: Intervals
  /** The pilot; null while fewer than two seeds of its arms are finished, and for seeds too few for an interval. */
  readonly pilot: Pilot | null
  /** Finished sweeps. */
  readonly tuning: readonly Tuning[]
  /**
   * Cells with their records; a record is null if the cell has not run yet. An arm has `best` cells only if its best
   * rate differs from the common one and is confirmed.
   */
  readonly cells: readonly {
    readonly arm: string
    readonly seed: number
    readonly rate: Rate
    /** Share of the steps of the arm at which this branch ends. Default: 1, the whole run. */
    readonly share?: number
    readonly record: RunRecord | null
  }[]
  /** The predictions as the study has them now, and all their registrations; absent if there never were predictions. */
  readonly registered?: { readonly protocol: Protocol; readonly registrations: readonly Registration[] }
  readonly timings: readonly Timing[]
  readonly specialisations: readonly Specialisation[]
  /** CPU, threads and system; one line for each machine. */
  readonly machine: string
  /** Set if the study is a search; `cells` then has the longest training of each configuration. */
  readonly search?: SearchResults
}

/** A prediction with its contrasts, as it is registered. */
export type Prediction = Omit<PredictionSpecification, 'contrasts'> & {
  readonly contrasts: readonly (readonly [baseline: string, arm: string])[]
}

/**
 * Everything that a later change could bend a prediction with: the predictions with their contrasts, the seeds, the
 * capacity rule, the kind of intervals, the sweep of learning rates, and the settings of the arms in these contrasts.
 */
export interface Protocol {
  readonly predictions: readonly Prediction[]
  readonly seeds: readonly number[]
  readonly capacity: CapacityRule
  /** The settings `intervals` and `tune` of the study; absent without them. */
  readonly intervals?: 'student' | 'anytime' | undefined
  readonly tune?: object | undefined
  /** Hashes of the settings of the arms in the contrasts of the predictions, by arm. */
  readonly arms: Readonly<Record<string, string>>
}

/** A protocol as it was registered, in results.json.gz. An entry is never replaced: a change is a further entry. */
export interface Registration {
  readonly protocol: Protocol
  /** SHA-256 of the protocol as JSON with sorted keys and without spaces. */
  readonly sha256: string
  /** Time in UTC at which the program first saw the protocol, in ISO 8601. */
  readonly at: string
  /** Number of results that there were at that time: runs, failed ones too, and trials of sweeps. */
  readonly ended: number
  /** Version of the rules by which the protocol was made (`REGISTRATION_RULES`); absent in the first versions. */
  readonly rules?: number
}
