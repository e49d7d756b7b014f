/**
 * How soon does an arm reach the loss at which its baseline ends? Per seed: the step at which the arm's
 * evaluations first go below the baseline's last one, on the straight line between two evaluations. The
 * baseline is held to the same measure, so a baseline that is past its best gives no speed-up for free.
 *
 * An arm that never gets there has no number, and a mean over the seeds that do would flatter it: such
 * seeds are counted, and no speed-up is claimed. With a learning rate that decays to the end, a loss is
 * reached late by design, so these numbers understate what the arm gains.
 *
 * Speed-ups are claims of their own beside the differences in loss, and share a correction of their own.
 */
import type { Table } from '../../report/index.ts'
import type { Contrast, FinishedRun, Question } from '../contract.ts'
import { type Estimate, estimateRatio, holm, mean } from '../statistics.ts'
import { clearOfOne, compareAll, timeRatios } from './comparison.ts'
import { armLines, evaluationTrack } from './curves.ts'
import { dash, fixed, listed, plural, range, ratioDigits, ratioText, time } from './numbers.ts'
import { context, type Findings, sentences } from './plain.ts'
import { quotientOf } from './ratios.ts'
import { armsOf, type Pair, type Runs } from './runs.ts'
import { armTable, forest, present, table } from './tables.ts'
import { lostIn } from './words.ts'

/** One seed. */
interface Reach {
  readonly seed: number
  /** The baseline's final evaluation loss. */
  readonly target: number
  readonly baselineSteps: number
  /** Null: never. */
  readonly steps: number | null
}

export function convergence(runs: Runs, { id, contrasts }: Question): Findings {
  const comparisons = compareAll(runs, contrasts)
  const races = contrasts.map((contrast) => raceOf(runs, contrast))
  const judge = judgeOf(races)
  return {
    verdicts: [
      ...summary(races, judge),
      ...races.map((race) => verdict(race, judge)),
      ...correction(judge),
      ...(races.some(({ reaches }) => reaches.length > 0) ? [decay(races)] : []),
      ...sentences(runs, comparisons, comparisons),
      ...context(runs, comparisons),
    ],
    blocks: present([
      raceTable(races),
      armLines(
        runs,
        armsOf(contrasts),
        { id: `${id}-evaluations`, caption: 'Evaluations while training.', y: 'held-out loss, nats a token' },
        evaluationTrack,
      ),
      forest(id, comparisons),
      armTable(runs, comparisons),
    ]),
  }
}

interface Race {
  readonly contrast: Contrast
  readonly pairs: readonly Pair[]
  /** Settings of the evaluations while training in which a pair differs: its losses are of different text. */
  readonly unlike: readonly string[]
  /** Pairs with evaluations. */
  readonly reaches: readonly Reach[]
  readonly reached: readonly Reach[]
  /** Steps and time of the baseline over those of the arm, over seeds that reached it. */
  readonly speedUp: Estimate | null
  readonly timeSpeedUp: Estimate | null
  readonly seconds: { readonly baseline: number | null; readonly arm: number | null }
}

function raceOf(runs: Runs, contrast: Contrast): Race {
  const pairs = runs.pairs(contrast)
  const unlike = [...new Set(pairs.flatMap(unlikeEvaluations))]
  const reaches = unlike.length > 0 ? [] : pairs.flatMap((pair) => reachOf(pair.seed, pair.baseline, pair.arm) ?? [])
  const reached = reaches.filter(({ steps }) => steps !== null)
  const speedUps = reached.map(({ steps, baselineSteps }) => baselineSteps / (steps ?? 0))
  const timings = [runs.timing(contrast.baseline), runs.timing(contrast.arm)] as const
  const times = reached.flatMap(({ seed, steps, baselineSteps }) => {
    const pair = pairs.find((other) => other.seed === seed)
    if (pair === undefined || steps === null) return []
    // Timed alone or not: both arms by the same clock.
    const [below, above] =
      timings[0] && timings[1]
        ? [timings[0].stepMs / 1000, timings[1].stepMs / 1000]
        : [secondsPerStep(pair.baseline), secondsPerStep(pair.arm)]
    return [{ baseline: baselineSteps * below, arm: steps * above }]
  })
  const turns = timeRatios(runs, contrast.baseline, contrast.arm)
  return {
    contrast,
    pairs,
    unlike,
    reaches,
    reached,
    speedUp: estimateRatio(speedUps),
    timeSpeedUp: turns ? quotientOf(speedUps, turns) : estimateRatio(times.map(({ baseline, arm }) => baseline / arm)),
    seconds: { baseline: mean(times.map(({ baseline }) => baseline)), arm: mean(times.map(({ arm }) => arm)) },
  }
}

/** Held-out batches of a run are the first `evalBatches` of its size; a step, too, is a batch of that size. */
function unlikeEvaluations({ baseline: { config: a }, arm: { config: b } }: Pair): string[] {
  const fields = [
    ['train.evalBatches', a.train.evalBatches, b.train.evalBatches],
    ['train.batch', a.train.batch, b.train.batch],
    ['model.sequence', a.model.sequence, b.model.sequence],
  ] as const
  return fields.flatMap(([path, below, above]) => (below === above ? [] : [`${path} ${above} against ${below}`]))
}

/** What may be said of a speed-up: `maybe` ones are lost in Holm's correction for all speed-ups of the section. */
type Speed = 'sooner' | 'later' | 'maybe-sooner' | 'maybe-later' | 'open' | 'unknown'

interface Judge {
  readonly tests: number
  speedOf(estimate: Estimate | null): Speed
}

/** Speed-ups that are claimed: of arms that reach the loss with every seed, in steps and in time. */
function judgeOf(races: readonly Race[]): Judge {
  const tested = races
    .filter(({ reaches, reached }) => reached.length === reaches.length)
    .flatMap(({ speedUp, timeSpeedUp }) => [speedUp, timeSpeedUp])
    .filter((estimate) => estimate !== null && estimate.p !== null)
  const adjusted = holm(tested.map((estimate) => estimate?.p ?? 1))
  return {
    tests: tested.length,
    speedOf(estimate) {
      const p = adjusted[tested.indexOf(estimate)]
      if (!estimate?.interval || p === undefined) return 'unknown'
      if (!clearOfOne(estimate)) return 'open'
      const way = estimate.mean > 1 ? 'sooner' : 'later'
      return p < 0.05 ? way : `maybe-${way}`
    },
  }
}

const lost = ({ tests }: Judge): string => lostIn(`the ${tests} speed-ups of this section`)

const correction = ({ tests }: Judge): string[] =>
  tests < 2 ? [] : [`Speed-ups are corrected by Holm's method for all ${tests} of this section, in steps and in time.`]

const secondsPerStep = (run: FinishedRun): number => run.seconds / run.config.train.steps

/** Null when one of the two has no evaluation. */
function reachOf(seed: number, baseline: FinishedRun, arm: FinishedRun): Reach | null {
  const target = baseline.evaluations.at(-1)?.loss
  if (target === undefined || !Number.isFinite(target) || arm.evaluations.length === 0) return null
  const baselineSteps = stepAt(baseline, target)
  return baselineSteps === null ? null : { seed, target, baselineSteps, steps: stepAt(arm, target) }
}

/** First step with a loss of at most `target`; at the first evaluation, its step, which is then too late. */
function stepAt({ evaluations }: FinishedRun, target: number): number | null {
  const index = evaluations.findIndex(({ loss }) => loss <= target)
  const [before, after] = [evaluations[index - 1], evaluations[index]]
  if (after === undefined) return null
  if (before === undefined || !Number.isFinite(before.loss)) return after.step
  return before.step + ((before.loss - target) / (before.loss - after.loss)) * (after.step - before.step)
}

function verdict({ contrast, unlike, reaches, reached, speedUp, timeSpeedUp }: Race, judge: Judge): string {
  const { arm, baseline } = contrast
  const goal = `the final loss of ${baseline}`
  if (unlike.length > 0)
    return `${arm} against ${baseline}: which is sooner cannot be told, since their steps or evaluations are of different batches (${listed(unlike)}).`
  if (reaches.length === 0) return `${arm} against ${baseline}: not enough runs yet to see which is sooner.`
  if (reached.length === 0) return `${arm} never reaches ${goal} (${plural(reaches.length, 'seed')}).`
  if (reached.length < reaches.length)
    return `${arm} reaches ${goal} with ${reached.length} of ${plural(reaches.length, 'seed')} only; no speed-up is claimed, since a mean over those alone would flatter it.`
  if (speedUp === null) return `${arm} reaches ${goal}, but its steps cannot be compared.`
  if (speedUp.interval === null)
    return `${arm} reaches ${goal} in ${fixed(1 / speedUp.mean, 2)} times its steps with the one seed that both finished; one pair has no interval, so nothing is found yet.`
  const seconds = timeSpeedUp === null ? '' : ` ${inTime(timeSpeedUp, judge)}`
  return `${arm} reaches ${goal} with all ${plural(reaches.length, 'seed')}. ${inSteps(speedUp, judge)}${seconds}`
}

/** Which arms are sooner, in one sentence, when there are several. */
function summary(races: readonly Race[], judge: Judge): string[] {
  if (races.length === 0) return ['Nothing is compared here.']
  if (races.length === 1) return []
  const words = new Map<string, string[]>()
  for (const race of races) {
    const { arm, baseline } = race.contrast
    const name = races.every(({ contrast }) => contrast.baseline === baseline) ? arm : `${arm} against ${baseline}`
    const { kind, claimed } = kindOf(race, judge)
    const speed = claimed ? ` (${fixed(race.speedUp?.mean, 2)} times as fast)` : ''
    words.set(kind, [...(words.get(kind) ?? []), `${name}${speed}`])
  }
  const parts = [...words].map(([kind, names]) => `${kind}: ${listed(names)}`)
  return [`Steps until the baseline's final loss: ${parts.join('; ')}.`]
}

/** `claimed`: with a number. */
function kindOf(
  { unlike, reaches, reached, speedUp }: Race,
  judge: Judge,
): { readonly kind: string; readonly claimed: boolean } {
  if (unlike.length > 0) return { kind: 'cannot be told', claimed: false }
  if (reaches.length === 0) return { kind: 'not enough runs yet', claimed: false }
  if (reached.length === 0) return { kind: 'never reached', claimed: false }
  if (reached.length < reaches.length) return { kind: 'not reached with every seed', claimed: false }
  const speed = judge.speedOf(speedUp)
  if (speed === 'unknown') return { kind: 'one seed only, nothing found yet', claimed: false }
  if (speed === 'open') return { kind: 'no difference found', claimed: false }
  return { kind: speed.replace(/^maybe-(.*)$/, "$1, but not after Holm's correction"), claimed: true }
}

const speedText = (ratio: Estimate): string => {
  const digits = ratioDigits(ratio)
  const sure = ratio.interval ? ` (95 % interval ${range(ratio.interval, digits)})` : ''
  return `${fixed(ratio.mean, digits)} times as fast${sure}`
}

/** "In steps it is 1.50 times as fast (…)": only when the interval leaves no other reading. */
function inSteps(ratio: Estimate, judge: Judge): string {
  const speed = judge.speedOf(ratio)
  if (speed === 'open') return `In steps no difference in speed is found: ${speedText(ratio)}.`
  return `In steps ${claim(ratio, speed, judge)}.`
}

/** Its interval has in it what turns leave open of the step times. */
function inTime(ratio: Estimate, judge: Judge): string {
  const speed = judge.speedOf(ratio)
  if (speed === 'unknown') return 'The step times do not tell which is sooner in time: there is no interval for them.'
  if (speed === 'open') return `The step times do not tell which is sooner in time: ${speedText(ratio)}.`
  return `In time ${claim(ratio, speed, judge)}.`
}

function claim(ratio: Estimate, speed: Speed, judge: Judge): string {
  const slower = speed.endsWith('later') ? 'slower: ' : ''
  return `it is ${slower}${speedText(ratio)}${speed.startsWith('maybe') ? lost(judge) : ''}`
}

function decay(races: readonly Race[]): string {
  const kinds = new Set(races.flatMap(({ pairs }) => pairs.map(({ arm }) => arm.config.train.schedule.kind)))
  kinds.delete('constant')
  return kinds.size === 0
    ? 'Steps are read off straight lines between evaluations.'
    : `Steps are read off straight lines between evaluations; the learning rate decays (${listed([...kinds])}), so every run reaches its lowest losses late, and speed-ups are understated.`
}

function raceTable(races: readonly Race[]): Table | null {
  return table(
    "Steps and time until the baseline's final evaluation loss, mean over the seeds that reach it; speed-up: geometric mean over those seeds, with its 95 % interval, which in time has that of the step times over turns in it. Where some do not reach it, the speed-up flatters the arm.",
    [
      'Arm',
      'Baseline',
      'Target loss',
      'Reached',
      'Steps of baseline',
      'Steps of arm',
      'Speed-up, steps',
      'Time of baseline',
      'Time of arm',
      'Speed-up, time',
    ],
    races.flatMap(({ contrast, reaches, reached, speedUp, timeSpeedUp, seconds }) =>
      reaches.length === 0
        ? []
        : [
            [
              contrast.arm,
              contrast.baseline,
              fixed(mean(reaches.map(({ target }) => target)), 3),
              `${reached.length} of ${reaches.length}`,
              fixed(mean(reaches.map(({ baselineSteps }) => baselineSteps)), 0),
              reached.length === 0 ? dash : fixed(mean(reached.flatMap(({ steps }) => steps ?? [])), 0),
              ratioText(speedUp),
              time(seconds.baseline),
              time(seconds.arm),
              ratioText(timeSpeedUp),
            ],
          ],
    ),
  )
}
