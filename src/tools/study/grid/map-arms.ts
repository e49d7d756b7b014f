/**
 * The arms of a question with the view `map`: a dense baseline, and arms that send each token to one expert and have no
 * shared expert. Other arms have no number of experts in the sense of the law, which counts experts that are as large
 * as the feed-forward network of the dense model.
 */
import type { ModelConfig } from '../../../core/model/config.ts'
import { activatedExperts } from '../../../core/model/parameters.ts'

/** Number of experts of an arm on the map, where each token uses one; null if the arm is not on the map. */
export const mapExperts = ({ moe }: ModelConfig): number | null =>
  moe !== null && activatedExperts(moe) === 1 && moe.sharedHidden === 0 ? moe.experts : null

/** The reason why an arm cannot be compared with its baseline on a map; null if it can. */
export function mapProblem(baseline: ModelConfig, arm: ModelConfig): string | null {
  if (baseline.moe !== null) return 'the baseline has experts (view map: set model.moe: null for it)'
  if (mapExperts(arm) === null)
    return 'the arm does not use one expert for each token (view map: model.moe.k 1, prototypes 1, sharedHidden 0)'
  return arm.moe?.hidden === baseline.hidden
    ? null
    : `model.moe.hidden is ${arm.moe?.hidden}, and model.hidden of the baseline ${baseline.hidden} (view map: both must be equal, so that both have as many active parameters)`
}
