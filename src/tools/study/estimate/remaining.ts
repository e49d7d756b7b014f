/** The runs that a study still has to do, phase by phase, and the further runs that its sweeps may ask for. */
import type { Cell } from '../contract.ts'
import { cellOf, chainOf, trialOf } from '../grid/cells.ts'
import type { Grid } from '../grid/grid.ts'
import { laterRungs, rungStatesOf } from '../results/halving.ts'
import type { Ledger } from '../results/ledger.ts'
import { runsOf } from '../results/results.ts'
import { MAX_EXTENSIONS, sweepStateOf } from '../results/tuning.ts'

export interface Remaining {
  /** Known runs that are not finished, by phase. A phase begins when the phase before it is done. */
  readonly phases: readonly (readonly Cell[])[]
  /**
   * The runs of `phases` whose arms are known. Runs of later rungs of a search stand for configurations that will be
   * chosen by their losses.
   */
  readonly known: readonly Cell[]
  /**
   * Runs that sweeps add at most, by phase: trials at further rates, whole runs that confirm a rate, and the runs of all
   * seeds at best rates. Their learning rates, and so their keys, are not known yet.
   */
  readonly possible: readonly (readonly Cell[])[]
}

export function remainingOf(grid: Grid, ledger: Ledger): Remaining {
  const { sweeps, capacity, search } = grid
  const seen = new Set<string>()
  const left = (cells: readonly Cell[]) =>
    cells.filter(({ key, config }) => {
      if (seen.has(key)) return false
      seen.add(key)
      return ledger.find(key, config)?.status !== 'finished'
    })
  if (search) {
    const states = rungStatesOf(search, ledger, capacity)
    const rungs = states.map(({ cells }) => left(cells))
    return { phases: [...rungs, ...laterRungs(search, states.length)], known: rungs.flat(), possible: [] }
  }
  const states = sweeps.map((sweep) => sweepStateOf(sweep, ledger, capacity))
  const phases = [
    left(states.flatMap(({ cells }) => cells)),
    left(states.flatMap(({ confirming }) => confirming)),
    left(runsOf(grid, ledger)),
  ]
  return {
    phases,
    known: phases.flat(),
    possible: possibleOf(grid, ledger),
  }
}

function possibleOf({ sweeps, seeds, branches, capacity }: Grid, ledger: Ledger): Cell[][] {
  const trials: Cell[] = []
  const confirming: Cell[] = []
  const best: Cell[] = []
  for (const sweep of sweeps) {
    const { arm, config, steps, confirm } = sweep
    const { tuning } = sweepStateOf(sweep, ledger, capacity)
    // An arm that keeps its own rate, or whose rate is confirmed or refuted, needs no more runs than are known.
    if (tuning && typeof tuning.confirmed !== 'object') continue
    if (!tuning)
      for (let i = 0; i < MAX_EXTENSIONS; i++)
        trials.push(...sweep.seeds.map((seed) => trialOf(arm, seed, config, steps)))
    if (!tuning) confirming.push(...[0, 1].flatMap(() => confirm.map((seed) => cellOf(arm, seed, 'confirm', config))))
    best.push(...seeds.flatMap((seed) => chainOf(arm, seed, 'best', config, branches)))
  }
  return [trials, confirming, best].filter((cells) => cells.length > 0)
}
