/**
 * The difference of two arms between texts. Seeds show how much trainings differ on one held-out text; its documents
 * show how much texts differ. The same groups of documents are drawn for both arms and all seeds.
 */
import type { DocumentLosses } from '../../../train/step/metrics/records.ts'
import { bootstrapTexts, type TextGroup } from '../bootstrap.ts'
import type { FinishedRun } from '../contract.ts'
import { type Interval, type Intervals, mean } from '../statistics.ts'
import { intervalOf } from './claims/decision.ts'
import { effectOf, withError } from './ratios.ts'
import type { Pair, Runs } from './runs.ts'

export interface BetweenTexts {
  /** Number of held-out documents. */
  readonly documents: number
  /** 95 % interval over documents of the mean difference over seeds, nats a token; null for too few documents. */
  readonly interval: Interval | null
  /** 95 % interval over both seeds and documents, never narrower than over seeds alone; null also for a single seed. */
  readonly both: Interval | null
}

/**
 * The variation of a difference between texts; null unless all runs of the pairs have losses of the same groups.
 * @param intervals Intervals over seeds, for the interval over both.
 */
export function betweenTexts(
  runs: Runs,
  pairs: readonly Pair[],
  intervals: Intervals = 'student',
): BetweenTexts | null {
  const documents = pairs.flatMap(({ arm, baseline }) => [arm.heldOut.documents, baseline.heldOut.documents])
  const [first] = documents
  if (first === undefined || !documents.every((one) => one && isSameText(one, first))) return null
  const domainOf = first.groups.flatMap((count, domain) => new Array<number>(count).fill(domain))
  const groups = first.tokens.map((targets, group): TextGroup => {
    // The runs of a pair are read at a capacity at which the two may be compared. It may differ from the basis.
    const natsOf = ({ heldOut: { documents, capacity } }: FinishedRun) =>
      (documents?.nats[capacity] ?? documents?.nats.train)?.[group] ?? Number.NaN
    const total = mean(pairs.map(({ arm, baseline }) => natsOf(arm) - natsOf(baseline))) ?? Number.NaN
    return { domain: domainOf[group] ?? 0, targets, total }
  })
  const texts = bootstrapTexts(groups)
  const seeds = effectOf(
    pairs.map(({ arm, baseline }) => runs.lossOf(arm) - runs.lossOf(baseline)),
    intervals,
  )
  return {
    documents: first.documents,
    interval: texts?.interval ?? null,
    both: texts && seeds && intervalOf(withError(seeds, texts)),
  }
}

const isSameText = (one: DocumentLosses, other: DocumentLosses): boolean =>
  one.groups.join() === other.groups.join() && one.tokens.join() === other.tokens.join()
