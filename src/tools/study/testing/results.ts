/**
 * Made-up results of studies with known effects. The loss of a run is a level, plus an effect of its seed that
 * all arms share, plus the effect of the arm, plus a jitter of the arm whose mean over one to five seeds is
 * exactly zero. So the mean difference of two arms is the difference of their effects, and the jitter
 * changes only its interval.
 */
import { type RunConfig, runSchema } from '../../../core/config/run-config.ts'
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import { byRule } from '../../../train/step/evaluation/capacity-rules.ts'
import type { Claim } from '../claim.ts'
import type {
  Contrast,
  FailedRun,
  FinishedRun,
  Match,
  Pilot,
  Question,
  Rate,
  Specialisation,
  StudyResults,
  Timing,
  Tuning,
} from '../contract.ts'
import { NUMERICS } from '../grid/numerics.ts'
import type { Settings, View } from '../specification.ts'

export interface ArmSketch {
  readonly settings?: Settings
  /** Added to the loss, nats a token; a function if it depends on the seed. */
  readonly effect?: number | ((seed: number) => number)
  /** Scale of the part of the loss that differs between seeds and arms. */
  readonly jitter?: number
  readonly cv?: number
  /** Mean total gate and entropy of each layer. Without `gates` the record lacks them, as in earlier versions. */
  readonly gates?: readonly number[]
  readonly entropies?: readonly number[]
  readonly dropRate?: number
  readonly unserved?: number
  /** Added to the loss under a capacity rule. */
  readonly at?: Partial<Readonly<Record<CapacityRule, number>>>
  /** The loss of each held-out document, of equal length, minus the loss of the run. */
  readonly documents?: readonly number[]
  /** Added to the loss on each domain, of equal length. */
  readonly domains?: Readonly<Record<string, number>>
  readonly leak?: FinishedRun['leak']
  /** Added to the loss at the best rate of the arm; without it, the arm has only the common rate. */
  readonly best?: number
  /** Added to the loss of shorter branches, by their share of the steps. */
  readonly branches?: Readonly<Record<number, number>>
  readonly trainFlops?: number
  readonly parameters?: number
  readonly seconds?: number
  /** The machine that trained the run of a seed. */
  readonly machine?: (seed: number) => string
  /** Evaluations by step; by default the loss falls linearly to the loss of the run. */
  readonly evaluations?: (seed: number) => readonly (readonly [step: number, loss: number])[]
  /** Added to the loss on other text, instead of the effect. */
  readonly elsewhere?: Readonly<Record<string, number>>
  readonly failed?: readonly number[]
  readonly missing?: readonly number[]
  readonly corpus?: string
}

export interface StudySketch {
  readonly arms: Readonly<Record<string, ArmSketch>>
  readonly view?: View
  readonly contrasts?: readonly Contrast[]
  readonly questions?: readonly Question[]
  readonly seeds?: readonly number[]
  readonly timings?: readonly Timing[]
  readonly specialisations?: readonly Specialisation[]
  readonly claims?: readonly Claim[]
  readonly capacity?: CapacityRule
  readonly pilot?: Pilot
  readonly tuning?: readonly Tuning[]
  readonly matches?: readonly Match[]
}

const MACHINE = 'An imaginary CPU, 8 threads'
const LEVEL = 3
const STEPS = 1000
const TOKENS = 4_096_000

/** Jitters by number of seeds: the jitters of 1, 2, 3, 4 or 5 seeds sum to zero. */
const jitters: Readonly<Record<number, readonly number[]>> = {
  1: [0],
  2: [1, -1],
  3: [1, -1, 0],
  4: [1, -1, 2, -2],
  5: [1, -1, 2, -2, 0],
}

/** A study of `arms`; by default with one question that compares every arm with the first. */
export function studyOf(sketch: StudySketch): StudyResults {
  const { arms, view = 'plain', seeds = [0, 1, 2, 3, 4] } = sketch
  const [baseline = '', ...rest] = Object.keys(arms)
  const contrasts = sketch.contrasts ?? rest.map((arm) => ({ baseline, arm }))
  return {
    name: 'test',
    title: 'A study of nothing',
    command: 'choir study test',
    seeds,
    arms: Object.fromEntries(Object.entries(arms).map(([name, { settings = {} }]) => [name, settings])),
    matches: sketch.matches ?? [],
    questions: sketch.questions ?? [
      {
        id: view,
        title: 'A question',
        about: 'The question in full.',
        view,
        contrasts,
        ...(sketch.claims && { claims: sketch.claims }),
      },
    ],
    cells: Object.entries(arms).flatMap(([arm, one]) =>
      ratesOf(one).flatMap((rate) =>
        sharesOf(one).flatMap((share) =>
          seeds.map((seed, i) => ({
            arm,
            seed,
            rate,
            ...(one.branches && { share }),
            record: recordOf(arm, one, seed, jitters[seeds.length]?.[i] ?? 0, rate, share),
          })),
        ),
      ),
    ),
    capacity: sketch.capacity ?? 'train',
    pilot: sketch.pilot ?? null,
    tuning: sketch.tuning ?? [],
    timings: sketch.timings ?? [],
    specialisations: sketch.specialisations ?? [],
    machine: [...new Set(Object.values(arms).flatMap((arm) => seeds.map(arm.machine ?? (() => MACHINE))))].join('\n'),
  }
}

const sharesOf = ({ branches = {} }: ArmSketch): number[] => [...Object.keys(branches).map(Number), 1]

const ratesOf = ({ best }: ArmSketch): Rate[] => (best === undefined ? ['common'] : ['common', 'best'])

function recordOf(
  name: string,
  arm: ArmSketch,
  seed: number,
  jitter: number,
  rate: Rate,
  share: number,
): FinishedRun | FailedRun | null {
  if (arm.missing?.includes(seed)) return null
  const config = configOf(arm.settings ?? {}, seed)
  const key = `${name}-${seed}`
  if (arm.failed?.includes(seed)) return { status: 'failed', key, seed, config, error: 'out of memory' }
  const own = typeof arm.effect === 'function' ? arm.effect(seed) : (arm.effect ?? 0)
  const effect = own + (rate === 'best' ? (arm.best ?? 0) : 0) + (arm.branches?.[share] ?? 0)
  const common = LEVEL + 0.5 * Math.sin(seed) + (arm.jitter ?? 0) * jitter
  const loss = common + effect
  const { cv = 0.4, dropRate = 0.03, seconds = 100 } = arm
  const evaluations =
    arm.evaluations?.(seed) ?? [250, 500, 750, STEPS].map((step) => [step, loss + 1 - step / STEPS] as const)
  const steps = [100, 200, 300, 400, 500, 600, 700, 800, 900, STEPS]
  return {
    status: 'finished',
    key,
    version: NUMERICS,
    seed,
    config,
    program: 'none',
    machine: arm.machine?.(seed) ?? MACHINE,
    corpus: arm.corpus ?? 'text-and-tokens',
    parameters: arm.parameters ?? 4_120_000,
    activeParameters: 1_100_000,
    tokens: TOKENS * share,
    trainFlops: arm.trainFlops ?? 6e13,
    seconds,
    train: { step: steps, loss: steps.map((step) => loss + 1 - step / STEPS) },
    evaluations: evaluations.map(([step, value]) => ({
      step,
      seconds: (seconds * step) / STEPS,
      loss: value,
      losses: { train: value, eval: value, none: value },
    })),
    heldOut: evaluationOf(loss, arm),
    elsewhere: Object.fromEntries(
      Object.entries(arm.elsewhere ?? {}).map(([source, other]) => [source, evaluationOf(common + 1 + other, arm)]),
    ),
    routing: { loadCv: cv, loadCvKept: cv / 2, dropRate, deadExperts: 0 },
    layers: config.model.moe
      ? [0, 1].map((layer) => ({
          layer,
          module: 'ffn' as const,
          step: steps,
          loadCv: steps.map(() => cv),
          loadCvKept: steps.map(() => cv / 2),
          dropRate: steps.map(() => dropRate),
          // Only the last quarter of the snapshots counts.
          entropy: steps.map((step) => (step > 700 ? (arm.entropies?.[layer] ?? 1) : 9)),
          ...(arm.gates && { gate: steps.map((step) => (step > 700 ? (arm.gates?.[layer] ?? 1) : 9)) }),
          load: steps.map(() => [0.4, 0.3, 0.2, 0.1]),
        }))
      : [],
    elsewhereCorpora: {},
    leak: arm.leak ?? { train: null, eval: null },
    engine: 'oneDNN float32, 8 threads',
  }
}

function evaluationOf(
  loss: number,
  { cv = 0.4, dropRate = 0.03, unserved = 0, at = {}, documents, domains }: ArmSketch,
): FinishedRun['heldOut'] {
  const under = (rule: CapacityRule, drops: number) => ({
    loss: loss + (at[rule] ?? 0),
    bits_per_byte: (loss + (at[rule] ?? 0)) / Math.LN2 / 4,
    drop_rate: drops,
    unserved_rate: rule === 'train' ? unserved : 0,
  })
  return {
    kind: 'eval',
    step: STEPS,
    tokens: TOKENS,
    loss,
    bits_per_byte: loss / Math.LN2 / 4,
    evaluated_tokens: 50_000,
    aux_loss: 1,
    z_loss: 1,
    unserved_rate: 0,
    drop_rate: dropRate,
    load_cv: cv,
    load_cv_kept: cv / 2,
    dead_experts: 0,
    gate_mean: 0.5,
    gate_entropy: 1,
    entropy_share: 0.5,
    capacity: 'train',
    capacities: { train: under('train', dropRate), eval: under('eval', dropRate / 4), none: under('none', 0) },
    ...(documents && {
      documents: {
        documents: documents.length,
        groups: [documents.length],
        tokens: documents.map(() => 1000),
        nats: byRule((rule) => documents.map((own) => 1000 * (under(rule, 0).loss + own))),
      },
    }),
    ...(domains && {
      domains: Object.entries(domains).map(([name, own]) => ({
        name,
        evaluated_tokens: 25_000,
        evaluated_bytes: 100_000,
        losses: byRule((rule) => under(rule, 0).loss + own),
      })),
    }),
  }
}

/** The defaults with settings by path; unknown paths are ignored, but still make arms differ. */
function configOf(settings: Settings, seed: number): RunConfig {
  const config = structuredClone(runSchema.parse({ train: { steps: STEPS, seed } })) as unknown as Record<
    string,
    unknown
  >
  for (const [path, value] of Object.entries(settings)) {
    const parts = path.split('.')
    const last = parts.pop() ?? ''
    const owner = parts.reduce<unknown>((inner, part) => (inner as Record<string, unknown> | null)?.[part], config)
    if (typeof owner === 'object' && owner !== null) (owner as Record<string, unknown>)[last] = value
  }
  return config as unknown as RunConfig
}
