/**
 * Comparisons in plain words. The rule of this file: a sentence may claim what the interval shows and
 * nothing beyond it. An interval that holds nought is "no difference found", which is not "equal"; one
 * seed is a number without a finding; a finding that is lost in Holm's correction says so.
 */
import type { Contrast } from '../contract.ts'
import type { Estimate } from '../statistics.ts'
import { type Comparison, clearOfOne, type Outcome, tested } from './comparison.ts'
import { digitsOf, fixed, listed, plural, range, ratioDigits } from './numbers.ts'
import type { Runs } from './runs.ts'

/** A sentence about one comparison of `total` in its section. */
export function verdictOf(runs: Runs, comparison: Comparison, total: number): string {
  return `${claimOf(runs, comparison)}${costOf(comparison)}${caveatOf(comparison, total)}.`
}

/** The claim alone, without cost and full stop. */
function claimOf(runs: Runs, comparison: Comparison): string {
  const { arm, baseline, estimate, outcome } = comparison
  if (estimate === null) return `${arm} against ${baseline}: not enough runs yet${reasonOf(runs, comparison)}`
  const { interval, mean, n } = estimate
  const digits = digitsOf(estimate)
  if (interval === null)
    return `${arm} has a loss ${fixed(Math.abs(mean), digits)} nats a token ${mean > 0 ? 'above' : 'below'} ${baseline} with the one seed that both finished; one pair has no interval, so nothing is found yet`
  if (outcome === 'same') return `${arm} and ${baseline} have the same loss in all ${plural(n, 'seed')}`
  if (outcome === 'open')
    return `no difference found between ${arm} and ${baseline}: ${fixed(mean, digits)} nats a token (95 % interval ${range(interval, digits)}, ${plural(n, 'seed')})`
  const away = [Math.abs(interval[0]), Math.abs(interval[1])].sort((a, b) => a - b) as [number, number]
  return `${arm} is ${mean < 0 ? 'better' : 'worse'} than ${baseline} by ${fixed(Math.abs(mean), digits)} nats a token (95 % interval ${range(away, digits)}, ${plural(n, 'seed')})`
}

/** `, at 1.32 times the FLOPs and 1.10 times the step time`; nothing when they are the same. */
function costOf({ flops, time, outcome }: Comparison): string {
  if (outcome === 'missing' || outcome === 'single') return ''
  const costs = [
    ...(differs(flops) ? [`${fixed(flops.mean, 2)} times the FLOPs`] : []),
    ...(differs(time) && clearOfOne(time) ? [`${fixed(time.mean, 2)} times the step time${turnsOf(time)}`] : []),
  ]
  return costs.length === 0 ? '' : `, at ${listed(costs)}`
}

/** Step times differ from turn to turn, so they are told with their interval, if it says anything. */
function turnsOf(time: Estimate): string {
  const known = time.interval !== null && time.interval[1] / time.interval[0] > 1.002
  return known ? ` (95 % interval ${range(time.interval, ratioDigits(time))}, ${plural(time.n, 'turn')})` : ''
}

const differs = (ratio: Estimate | null): ratio is Estimate => ratio !== null && Math.abs(ratio.mean - 1) >= 0.01

function caveatOf({ outcome }: Comparison, total: number): string {
  return outcome === 'maybe-better' || outcome === 'maybe-worse'
    ? lostIn(`the ${total} comparisons of loss in this section`)
    : ''
}

/** Said of what has an interval clear of nought that does not survive the correction for `tests`. */
export const lostIn = (tests: string): string =>
  `; this does not survive Holm's correction for ${tests}, so it may be chance`

/** Why there is no pair. */
function reasonOf(runs: Runs, contrast: Contrast): string {
  if (runs.unlike(contrast) > 0) return ' on the same text'
  const failed = [contrast.baseline, contrast.arm].filter(
    (name) =>
      runs.finished(name).length === 0 &&
      runs.results.cells.some(({ arm, record }) => arm === name && record?.status === 'failed'),
  )
  return failed.length === 0 ? '' : ` (every run of ${listed(failed)} so far failed)`
}

/** What a section found, in one sentence. */
export function headline(runs: Runs, comparisons: readonly Comparison[]): string {
  const [only] = comparisons
  if (only === undefined) return 'Nothing is compared here.'
  if (comparisons.length === 1) return verdictOf(runs, only, 1)
  if (comparisons.every(({ outcome }) => outcome === 'missing')) return 'Not enough runs yet.'
  const parts = outcomeWords.flatMap(([outcome, words]) => {
    const arms = comparisons.filter((comparison) => comparison.outcome === outcome)
    return arms.length === 0 ? [] : [`${words}: ${listed(arms.map((comparison) => shortOf(comparison, comparisons)))}`]
  })
  return `Of ${comparisons.length} comparisons: ${parts.join('; ')}.`
}

const outcomeWords: readonly (readonly [Outcome, string])[] = [
  ['better', 'better'],
  ['maybe-better', "better, but not after Holm's correction"],
  ['worse', 'worse'],
  ['maybe-worse', "worse, but not after Holm's correction"],
  ['open', 'no difference found'],
  ['same', 'the same loss in every seed'],
  ['single', 'one seed only, nothing found yet'],
  ['missing', 'not enough runs yet'],
]

/** `2 top-1 (by 0.021)`, with the baseline when there are several. */
function shortOf({ arm, baseline, estimate, outcome }: Comparison, all: readonly Comparison[]): string {
  const name = all.every((other) => other.baseline === baseline) ? arm : `${arm} against ${baseline}`
  const found = outcome !== 'open' && outcome !== 'same' && outcome !== 'single' && estimate !== null
  return found ? `${name} (by ${fixed(Math.abs(estimate.mean), digitsOf(estimate))})` : name
}

/** How many comparisons there are, and what chance would make of them. Nothing for none or one. */
export function multiplicity(comparisons: readonly Comparison[]): string[] {
  const all = tested(comparisons)
  if (all.length < 2) return []
  const clear = all.filter(({ outcome }) => /better|worse/.test(outcome))
  const surviving = clear.filter(({ outcome }) => !outcome.startsWith('maybe'))
  const seen =
    clear.length === 0
      ? 'here none does'
      : `here ${clear.length} of them ${clear.length === 1 ? 'does' : 'do'}, and ${surviving.length} of these after Holm's correction`
  return [
    `This section makes ${all.length} comparisons of loss; if no arm differed, about ${fixed(0.05 * all.length, 2)} of them would still show a difference by chance: ${seen}.`,
  ]
}

/** A sentence when runs were left out because they saw other text. */
export function unlikeText(runs: Runs, contrasts: readonly Contrast[]): string[] {
  const left = contrasts.reduce((sum, contrast) => sum + runs.unlike(contrast), 0)
  return left === 0 ? [] : [`${plural(left, 'pair')} of runs left out: the two saw different text or tokens.`]
}
