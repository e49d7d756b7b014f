/**
 * The best arm of a sweep: the causal arm with the lowest loss, and how far the next arm is behind it. The best of many
 * arms is partly the luckiest, so the report also lists the arms that cannot be distinguished from it.
 */
import { fixed, joinWords, plural } from '../../../../core/text/numbers.ts'
import type { Question } from '../../contract.ts'
import { type Estimate, estimateMean, mean } from '../../statistics.ts'
import { anytimeMark, digitsOf, formatRange } from '../numbers.ts'
import { armsOf, type Runs } from '../runs.ts'
import { swept } from './sweep.ts'

interface Rival {
  readonly arm: string
  /** Its loss minus the loss of the best arm, seed by seed; null if they share no seed. */
  readonly behind: Estimate | null
}

export interface BestArm {
  readonly arm: string
  /** Held-out loss, mean over seeds, nats a token. */
  readonly loss: number
  /** The other arms by rising loss. */
  readonly rivals: readonly Rival[]
}

/** The best of these arms; null without a causal arm that has finished runs. */
export function bestArm(given: Runs, arms: readonly string[]): BestArm | null {
  const runs = given.comparing(arms)
  const ranked = arms
    .filter((arm) => runs.leakOf(arm) === null)
    .flatMap((arm) => {
      const loss = mean(runs.finished(arm).map((run) => runs.lossOf(run)))
      return loss === null ? [] : [{ arm, loss }]
    })
    .toSorted((a, b) => a.loss - b.loss)
  const [best, ...others] = ranked
  if (best === undefined) return null
  const rivals = others.map(({ arm }) => ({
    arm,
    behind: estimateMean(runs.differences({ baseline: best.arm, arm }), runs.intervalsFor([best.arm, arm])),
  }))
  return { ...best, rivals }
}

/** The best arm of a question with the view `sweep`; null if nothing is compared. */
export function bestOfSweep(runs: Runs, { view, contrasts }: Question): BestArm | null {
  const best = view === 'sweep' ? bestArm(runs, armsOf(contrasts)) : null
  return best !== null && best.rivals.length > 0 ? best : null
}

/** Whether the difference is within the variation of seeds, or unknown. */
const isNoise = ({ behind }: Rival): boolean => !(behind?.interval && behind.interval[0] > 0)

/**
 * The best arm in a sentence: `Best arm: k=2, held-out loss 2.750 nats a token, 0.021 below the runner-up, k=4 (95 %
 * interval 0.010 to 0.032, 3 seeds).`
 */
export function bestArmSentence({ arm, loss, rivals: [second] }: BestArm): string {
  const start = `Best arm: ${arm}, held-out loss ${fixed(loss, 3)} nats a token`
  if (second === undefined) return `${start}.`
  const { arm: name, behind } = second
  if (behind === null) return `${start}; the runner-up, ${name}, has no seed in common with it.`
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
  const close = best.rivals.filter((rival) => rival.behind?.interval && isNoise(rival)).map(({ arm }) => arm)
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
