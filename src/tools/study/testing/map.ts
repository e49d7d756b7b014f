/**
 * Made-up results of a map: arms of two sizes and several numbers of experts, each with branches. Their losses follow a
 * known law.
 */

import { describeModel } from '../../../core/model/describe.ts'
import { normals } from '../../law/testing/normals.ts'
import { knownLaw, lossBy } from '../../law/testing/simulated.ts'
import type { FinishedRun, StudyResults } from '../contract.ts'
import type { Settings } from '../specification.ts'
import { studyOf } from './results.ts'

const sizes: readonly Settings[] = [
  { 'model.width': 64, 'model.layers': 2, 'model.hidden': 256, 'model.vocabulary': 1024 },
  { 'model.width': 128, 'model.layers': 3, 'model.hidden': 512, 'model.vocabulary': 1024 },
]
const shares = [1 / 16, 1 / 4, 1]
const mapExperts = [2, 8]
/** Tokens for each active parameter at the end of a whole run. */
const RATIO = 64

const dense = (size: Settings): Settings => ({ ...size, 'model.moe': null })
const sparse = (size: Settings, experts: number): Settings => ({
  ...size,
  'model.moe.experts': experts,
  'model.moe.hidden': size['model.hidden'],
  'model.moe.capacity': 'none',
})

/** @param keep Whether a run is finished; default: all are. */
export function mapStudy(
  keep: (run: { arm: string; seed: number; share: number }) => boolean = () => true,
): StudyResults {
  const arms = Object.fromEntries(
    sizes.flatMap((size, i) => [
      [`dense ${i}`, { settings: dense(size) }],
      ...mapExperts.map((experts) => [`${experts} experts ${i}`, { settings: sparse(size, experts) }] as const),
    ]),
  )
  const seeds = [1, 2, 3]
  const contrasts = sizes.flatMap((_, i) =>
    mapExperts.map((experts) => ({ baseline: `dense ${i}`, arm: `${experts} experts ${i}` })),
  )
  const whole = studyOf({ arms, view: 'map', seeds, contrasts, capacity: 'none' })
  const normal = normals(7)
  const level = new Map(seeds.map((seed) => [seed, 0.05 * normal()]))
  const denseOf = new Map(
    whole.cells.flatMap(({ arm, record }) =>
      record?.config.model.moe === null ? [[arm.at(-1), record.config.model]] : [],
    ),
  )
  return {
    ...whole,
    cells: whole.cells.flatMap((cell) => {
      const { arm, seed, record } = cell
      const model = denseOf.get(arm.at(-1))
      if (record?.status !== 'finished' || !model) return []
      const active = describeModel(model).computingParameters
      return shares.map((share) => {
        const tokens = Math.round(RATIO * active * share)
        const experts = record.config.model.moe?.experts ?? 1
        const loss = lossBy(knownLaw)({ active, tokens, experts }) + (level.get(seed) ?? 0) + 0.002 * normal()
        const under = { ...record.heldOut.capacities.none, loss }
        const run: FinishedRun = {
          ...record,
          key: `${arm} ${seed} ${share}`,
          tokens,
          parameters: describeModel(record.config.model).parameters,
          heldOut: { ...record.heldOut, loss, capacities: { train: under, eval: under, none: under } },
        }
        return { ...cell, share, record: keep({ arm, seed, share }) ? run : null }
      })
    }),
  }
}
