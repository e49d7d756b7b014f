/**
 * How soon does an arm reach the loss at which its baseline ends? Per seed: the step at which the arm's
 * evaluations first go below the baseline's last one, on the straight line between two evaluations. The
 * baseline is held to the same measure, so a baseline that is past its best gives no speed-up for free.
 *
 * An arm that never gets there has no number, and a mean over the seeds that do would flatter it: such
 * seeds are counted, and no speed-up is claimed. With a learning rate that decays to the end, a loss is
 * reached late by design, so these numbers understate what the arm gains.
 */
import type { FinishedRun, Question } from '../contract.ts'
import type { Table } from '../report/blocks.ts'
import { type Estimate, estimateRatio, mean } from '../statistics.ts'
import { type Comparison, compareAll } from './comparison.ts'
import { armLines, evaluationTrack } from './curves.ts'
import { dash, fixed, listed, plural, range, ratioDigits, ratioText, time } from './numbers.ts'
import { context, type Findings, sentences } from './plain.ts'
import { armsOf, type Runs } from './runs.ts'
import { armTable, forest, present, table } from './tables.ts'

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
  const races = comparisons.map((comparison) => raceOf(runs, comparison))
  return {
    verdicts: [
      ...summary(races),
      ...races.map(verdict),
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
  readonly comparison: Comparison
  /** Pairs with evaluations. */
  readonly reaches: readonly Reach[]
  readonly reached: readonly Reach[]
  /** Steps and seconds of the baseline over those of the arm, over seeds that reached it. */
  readonly speedUp: Estimate | null
  readonly timeSpeedUp: Estimate | null
  readonly seconds: { readonly baseline: number | null; readonly arm: number | null }
}

function raceOf(runs: Runs, comparison: Comparison): Race {
  const reaches = comparison.pairs.flatMap((pair) => reachOf(pair.seed, pair.baseline, pair.arm) ?? [])
  const reached = reaches.filter(({ steps }) => steps !== null)
  const times = reached.flatMap(({ seed, steps, baselineSteps }) => {
    const pair = comparison.pairs.find((other) => other.seed === seed)
    if (pair === undefined || steps === null) return []
    // Timed alone or not: both arms by the same clock.
    const timings = [runs.timing(comparison.baseline), runs.timing(comparison.arm)] as const
    const [below, above] =
      timings[0] && timings[1]
        ? [timings[0].stepMs / 1000, timings[1].stepMs / 1000]
        : [secondsPerStep(pair.baseline), secondsPerStep(pair.arm)]
    return [{ baseline: baselineSteps * below, arm: steps * above }]
  })
  return {
    comparison,
    reaches,
    reached,
    speedUp: estimateRatio(reached.map(({ steps, baselineSteps }) => baselineSteps / (steps ?? 0))),
    timeSpeedUp: estimateRatio(times.map(({ baseline, arm }) => baseline / arm)),
    seconds: { baseline: mean(times.map(({ baseline }) => baseline)), arm: mean(times.map(({ arm }) => arm)) },
  }
}

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

function verdict({ comparison, reaches, reached, speedUp, timeSpeedUp }: Race): string {
  const { arm, baseline } = comparison
  const goal = `the final loss of ${baseline}`
  if (reaches.length === 0) return `${arm} against ${baseline}: not enough runs yet to see which is sooner.`
  if (reached.length === 0) return `${arm} never reaches ${goal} (${plural(reaches.length, 'seed')}).`
  if (reached.length < reaches.length)
    return `${arm} reaches ${goal} with ${reached.length} of ${plural(reaches.length, 'seed')} only; no speed-up is claimed, since a mean over those alone would flatter it.`
  if (speedUp === null) return `${arm} reaches ${goal}, but its steps cannot be compared.`
  if (speedUp.interval === null)
    return `${arm} reaches ${goal} in ${fixed(1 / speedUp.mean, 2)} times its steps with the one seed that both finished; one pair has no interval, so nothing is found yet.`
  const steps = faster(speedUp, 'steps')
  const seconds = timeSpeedUp?.interval ? ` ${faster(timeSpeedUp, 'time')}` : ''
  return `${arm} reaches ${goal} with all ${plural(reaches.length, 'seed')}. ${steps}${seconds}`
}

/** Which arms are sooner, in one sentence, when there are several. */
function summary(races: readonly Race[]): string[] {
  if (races.length === 0) return ['Nothing is compared here.']
  if (races.length === 1) return []
  const words = new Map<string, string[]>()
  for (const race of races) {
    const { arm, baseline } = race.comparison
    const name = races.every(({ comparison }) => comparison.baseline === baseline) ? arm : `${arm} against ${baseline}`
    const kind = kindOf(race)
    const speed = kind === 'sooner' || kind === 'later' ? ` (${fixed(race.speedUp?.mean, 2)} times as fast)` : ''
    words.set(kind, [...(words.get(kind) ?? []), `${name}${speed}`])
  }
  const parts = [...words].map(([kind, names]) => `${kind}: ${listed(names)}`)
  return [`Steps until the baseline's final loss: ${parts.join('; ')}.`]
}

function kindOf({ reaches, reached, speedUp }: Race): string {
  if (reaches.length === 0) return 'not enough runs yet'
  if (reached.length === 0) return 'never reached'
  if (reached.length < reaches.length) return 'not reached with every seed'
  if (!speedUp?.interval) return 'one seed only, nothing found yet'
  if (speedUp.interval[0] > 1) return 'sooner'
  return speedUp.interval[1] < 1 ? 'later' : 'no difference found'
}

/** "In steps it is 1.50 times as fast (…)": only when the interval leaves no other reading. */
function faster(ratio: Estimate, unit: 'steps' | 'time'): string {
  const { mean, interval } = ratio
  if (interval === null) return ''
  const digits = ratioDigits(ratio)
  const where = unit === 'steps' ? 'In steps' : 'In time'
  const speed = `${fixed(mean, digits)} times as fast (95 % interval ${range(interval, digits)})`
  if (interval[0] > 1) return `${where} it is ${speed}.`
  if (interval[1] < 1) return `${where} it is slower: ${speed}.`
  return `${where} no difference in speed is found: ${speed}.`
}

function decay(races: readonly Race[]): string {
  const kinds = new Set(
    races.flatMap(({ comparison }) => comparison.pairs.map(({ arm }) => arm.config.train.schedule.kind)),
  )
  kinds.delete('constant')
  return kinds.size === 0
    ? 'Steps are read off straight lines between evaluations.'
    : `Steps are read off straight lines between evaluations; the learning rate decays (${listed([...kinds])}), so every run reaches its lowest losses late, and speed-ups are understated.`
}

function raceTable(races: readonly Race[]): Table | null {
  return table(
    "Steps and time until the baseline's final evaluation loss, mean over the seeds that reach it; speed-up: geometric mean over those seeds, with its 95 % interval. Where some do not reach it, the speed-up flatters the arm.",
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
    races.flatMap(({ comparison, reaches, reached, speedUp, timeSpeedUp, seconds }) =>
      reaches.length === 0
        ? []
        : [
            [
              comparison.arm,
              comparison.baseline,
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
