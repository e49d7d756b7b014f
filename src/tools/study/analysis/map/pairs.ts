/**
 * The results of a map as pairs: a run with experts and the dense run of the same size, tokens and seed.
 */

import { describeModel } from '../../../../core/model/describe.ts'
import type { Pair } from '../../../law/observations.ts'
import type { Contrast, FinishedRun, Question } from '../../contract.ts'
import { mapExperts } from '../../grid/questions.ts'
import type { Intervals } from '../../statistics.ts'
import type { Runs } from '../runs.ts'

/** A pair of runs, evaluated without a limit of capacity. */
export interface MapPair extends Pair {
  readonly contrast: Contrast
  readonly runs: { readonly dense: FinishedRun; readonly sparse: FinishedRun }
  /** The intervals of a number over the seeds of this contrast and length of training. */
  readonly intervals: Intervals
}

/** All pairs of a question, with every length of training. */
export function pairsOf(runs: Runs, { contrasts }: Pick<Question, 'contrasts'>): MapPair[] {
  return contrasts.flatMap((contrast) =>
    runs.shares.flatMap((share) => {
      const dropless = runs.withBasis({ share, capacity: 'none' })
      const intervals = dropless.intervalsFor([contrast.baseline, contrast.arm])
      return dropless.pairs(contrast).flatMap(({ seed, baseline: dense, arm: sparse }): MapPair[] => {
        const experts = mapExperts(sparse.config.model)
        if (dense.config.model.moe !== null || experts === null) return []
        const losses = { dense: dropless.lossOf(dense), loss: dropless.lossOf(sparse) }
        // The router's own parameters are a cost of experts, so both runs have the size of the dense model.
        const active = describeModel(dense.config.model).computingParameters
        const { tokens } = sparse
        return [{ active, tokens, experts, seed, ...losses, contrast, runs: { dense, sparse }, intervals }]
      })
    }),
  )
}
