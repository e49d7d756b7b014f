/**
 * The results of a map as pairs: a run with experts and the dense run of the same size, tokens and seed.
 */

import { describeModel } from '../../../../core/model/describe.ts'
import type { Pair } from '../../../law/observations.ts'
import type { Contrast, FinishedRun, Question } from '../../contract.ts'
import { mapExperts } from '../../grid/map-arms.ts'
import type { Runs } from '../runs.ts'

/** A pair of runs, evaluated without a limit of capacity. */
export interface MapPair extends Pair {
  readonly contrast: Contrast
  readonly runs: { readonly dense: FinishedRun; readonly sparse: FinishedRun }
}

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
      // The router's own parameters are a cost of experts, so both runs have the size of the dense model.
      const active = describeModel(paired.config.model).computingParameters
      return [{ active, tokens, experts, seed, ...losses, contrast, runs: { dense: paired, sparse } }]
    })
  })
}
