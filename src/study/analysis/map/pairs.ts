/**
 * The results of a map as pairs: a run with experts and the dense run of the same size, tokens and seed. Only arms that
 * send each token to one expert, as large as the dense network, are on the map; others have no number of experts in the
 * sense of the law.
 */
import type { Pair } from '../../../law/observations.ts'
import type { ModelConfig } from '../../../model/config.ts'
import { describeModel } from '../../../model/describe.ts'
import { activatedExperts } from '../../../model/parameters.ts'
import type { Contrast, FinishedRun, Question } from '../../contract.ts'
import type { Runs } from '../runs.ts'

/** A pair of runs, evaluated without a limit of capacity. */
export interface MapPair extends Pair {
  readonly contrast: Contrast
  readonly runs: { readonly dense: FinishedRun; readonly sparse: FinishedRun }
}

/** Experts of an arm on the map, of which a token uses one; null if it is not on the map. */
export const mapExperts = ({ moe }: ModelConfig): number | null =>
  moe !== null && activatedExperts(moe) === 1 && moe.sharedHidden === 0 ? moe.experts : null

/** All pairs of a question. */
export function pairsOf(runs: Runs, { contrasts }: Pick<Question, 'contrasts'>): MapPair[] {
  const dropless = runs.withBasis({ capacity: 'none' })
  return contrasts.flatMap((contrast) => {
    const dense = dropless.ofEveryLength(contrast.baseline).filter(({ config }) => config.model.moe === null)
    return dropless.ofEveryLength(contrast.arm).flatMap((sparse): MapPair[] => {
      const { seed, tokens, corpus, config } = sparse
      const experts = mapExperts(config.model)
      const paired = dense.find((one) => one.seed === seed && one.tokens === tokens && one.corpus === corpus)
      if (experts === null || !paired) return []
      const losses = { dense: dropless.lossOf(paired), loss: dropless.lossOf(sparse) }
      // The router's own parameters are a cost of experts, so both runs have the size of the dense one.
      const active = describeModel(paired.config.model).computingParameters
      return [{ active, tokens, experts, seed, ...losses, contrast, runs: { dense: paired, sparse } }]
    })
  })
}
