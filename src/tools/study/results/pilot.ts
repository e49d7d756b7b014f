/** The pilot: the first runs of a study, two arms with all seeds, which show the effect that the study can detect. */
import type { Cell, PilotResult } from '../contract.ts'
import { isWhole } from '../grid/cells.ts'
import type { Grid } from '../grid/grid.ts'
import { fairRule, heldOutLoss } from '../held-out.ts'
import { detectableEffect, seedsFor } from '../power.ts'
import { standardDeviation } from '../statistics.ts'
import type { Ledger } from './ledger.ts'

/** The runs of the pilot, with all branches. */
export const pilotCells = ({ pilot, cells }: Grid): Cell[] =>
  cells.filter(({ arm }) => arm === pilot?.arm || arm === pilot?.baseline)

/**
 * The result of the pilot; null until both runs of two seeds have finished, since a single difference has no deviation,
 * and in a study whose seeds are too few for an interval: it finds no effect.
 */
export function pilotOf(grid: Grid, ledger: Ledger): PilotResult | null {
  const { pilot, seeds, capacity, intervals } = grid
  if (pilot === null) return null
  const own = pilotCells(grid)
  const rule = fairRule(
    own.map(({ config }) => config),
    capacity,
  )
  const lossOf = (arm: string, seed: number) => {
    const cell = own.find((one) => one.arm === arm && one.seed === seed && isWhole(one))
    return cell ? heldOutLoss(ledger.find(cell.key, cell.config), rule) : null
  }
  const differences = seeds.flatMap((seed) => {
    const [arm, baseline] = [lossOf(pilot.arm, seed), lossOf(pilot.baseline, seed)]
    return arm === null || baseline === null ? [] : [arm - baseline]
  })
  const deviation = standardDeviation(differences)
  if (deviation === null) return null
  const detectable = detectableEffect(deviation, seeds.length, intervals)
  if (detectable === Infinity) return null
  return {
    ...pilot,
    differences,
    deviation,
    seeds: seeds.length,
    detectable,
    seedsForHalf: seedsFor(detectable / 2, deviation, intervals),
  }
}
