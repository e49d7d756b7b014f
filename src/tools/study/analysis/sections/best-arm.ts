/**
 * The best arm of a sweep: the causal arm with the lowest loss, and how far the next arm is behind it. Seeds shift all
 * arms alike, so arms are compared on the seeds that all of them have. The best of many arms is partly the luckiest, so
 * the report also lists the arms that cannot be distinguished from it.
 */
import { fixed, joinWords, plural } from '../../../../core/text/numbers.ts'
import type { Question } from '../../contract.ts'
import { type Estimate, estimateMean, mean } from '../../statistics.ts'
import { anytimeMark, digitsOf, formatRange } from '../numbers.ts'
import { signOf } from '../outcome.ts'
import { armsOf, type Runs } from '../runs.ts'
import { swept } from './sweep.ts'

interface Rival {
  readonly arm: string
  /** Its loss minus the loss of the best arm, seed by seed. */
  readonly behind: Estimate
}

export interface BestArm {
  readonly arm: string
  /** Held-out loss, mean over the seeds that are compared, nats a token. */
  readonly loss: number
  /** The seeds that all causal arms have finished, and whether an arm has finished others too. */
  readonly seeds: readonly number[]
  readonly isPart: boolean
  /** The other arms by rising loss. */
  readonly rivals: readonly Rival[]
}

/** The best of these arms; null unless the causal arms with finished runs have a seed in common, on the same text. */
export function bestArm(given: Runs, arms: readonly string[]): BestArm | null {
  const runs = given.comparing(arms)
  const causal = arms.filter((arm) => runs.leakOf(arm) === null && runs.finished(arm).length > 0)
  const [first] = causal
  if (first === undefined) return null
  const seeds = causal
    .map((arm) => runs.pairs({ baseline: first, arm }).map(({ seed }) => seed))
    .reduce((common, own) => common.filter((seed) => own.includes(seed)))
  const [best, ...others] = causal
    .flatMap((arm) => {
      const common = runs.finished(arm).filter(({ seed }) => seeds.includes(seed))
      const loss = mean(common.map((run) => runs.lossOf(run)))
      return loss === null ? [] : [{ arm, loss }]
    })
    .toSorted((a, b) => a.loss - b.loss)
  if (best === undefined) return null
  // Any of the arms may still add a common seed.
  const intervals = runs.intervalsFor(causal)
  const rivals = others.flatMap(({ arm }) => {
    const behind = estimateMean(runs.differences({ baseline: best.arm, arm }, seeds), intervals)
    return behind === null ? [] : [{ arm, behind }]
  })
  return { ...best, seeds, isPart: causal.some((arm) => runs.finished(arm).length > seeds.length), rivals }
}

/** The best arm of a question with the view `sweep`; null if nothing is compared. */
export function bestOfSweep(runs: Runs, { view, contrasts }: Question): BestArm | null {
  const best = view === 'sweep' ? bestArm(runs, armsOf(contrasts)) : null
  return best !== null && best.rivals.length > 0 ? best : null
}

/** Whether the difference is within the variation of seeds, or unknown. */
const isNoise = ({ behind }: Rival): boolean => signOf(behind) === 0

/** The loss of the best arm in words, with the seeds that it is the mean of if these are not all seeds. */
export function bestLossText({ loss, seeds, isPart }: BestArm): string {
  const which = `${seeds.length === 1 ? 'seed' : 'seeds'} ${joinWords(seeds.map(String))}`
  return `${fixed(loss, 3)} nats a token${isPart ? ` (${which}, which all causal arms have finished)` : ''}`
}

/**
 * The best arm in a sentence: `Best arm: k=2, held-out loss 2.750 nats a token, 0.021 below the runner-up, k=4 (95 %
 * interval 0.010 to 0.032, 3 seeds).`
 */
export function bestArmSentence(best: BestArm): string {
  const [second] = best.rivals
  const start = `Best arm: ${best.arm}, held-out loss ${bestLossText(best)}`
  if (second === undefined) return `${start}.`
  const { arm: name, behind } = second
  if (behind.interval === null)
    return `${start}, ${fixed(behind.mean, 3)} below the runner-up, ${name}; ${behind.n === 1 ? 'one seed' : plural(behind.n, 'seed')} cannot show whether that is more than noise.`
  const digits = digitsOf(behind)
  const interval = `${anytimeMark(behind)}95 % interval ${formatRange(behind.interval, digits)}, ${plural(behind.n, 'seed')}`
  return isNoise(second)
    ? `${start}; its lead over the runner-up, ${name}, is within noise: ${fixed(behind.mean, digits)} (${interval}).`
    : `${start}, ${fixed(behind.mean, digits)} below the runner-up, ${name} (${interval}).`
}

const MAX_NAMED = 5

/** Cautions about the best arm: other arms within noise of it, and values at an end of the values that were tried. */
export function bestArmCautions(runs: Runs, question: Question): string[] {
  const best = bestOfSweep(runs, question)
  if (best === null) return []
  const close = best.rivals.filter((rival) => rival.behind.interval && isNoise(rival)).map(({ arm }) => arm)
  const named = close.length > MAX_NAMED ? [...close.slice(0, MAX_NAMED), `${close.length - MAX_NAMED} more`] : close
  const edges = swept(runs, armsOf(question.contrasts)).flatMap(({ path, values }) => {
    const value = runs.setting(best.arm, path)
    const side = values.length < 3 ? null : value === values[0] ? 'lowest' : value === values.at(-1) ? 'highest' : null
    return side === null
      ? []
      : [`${path}=${value} of the best arm is the ${side} that was tried: a better value may lie beyond.`]
  })
  return [
    ...(close.length > 0
      ? [
          `Within noise of the best arm, ${best.arm} (the interval of the difference contains zero): ${joinWords(named)}.`,
        ]
      : []),
    ...edges,
  ]
}
