/** Combines grid and ledger into the input of the analysis: each arm and seed with its record. */
import type { Cell, StudyResults, Tuning } from '../contract.ts'
import type { Grid } from '../grid/grid.ts'
import { atCapacity } from '../held-out.ts'
import type { Specification } from '../specification.ts'
import { type RungState, rungStatesOf, searchRungs } from './halving.ts'
import type { Ledger } from './ledger.ts'
import { pilotOf } from './pilot.ts'
import { bestCells, sweepStateOf } from './tuning.ts'

/**
 * All known runs of the study, seed by seed: at the common rate, then at the best rates found so far. For a search, the
 * known trainings of its rungs.
 */
export function runsOf(grid: Grid, ledger: Ledger): Cell[] {
  const { cells, seeds, capacity, search } = grid
  if (search) return rungStatesOf(search, ledger, capacity).flatMap((rung) => [...rung.cells])
  const best = bestCells(grid, ledger)
  return seeds.flatMap((seed) => [...cells, ...best].filter((cell) => cell.seed === seed))
}

/** Results of the finished sweeps. */
export const tuningsOf = ({ sweeps, capacity }: Grid, ledger: Ledger): Tuning[] =>
  sweeps.flatMap((sweep) => sweepStateOf(sweep, ledger, capacity).tuning ?? [])

export function resultsOf(
  specification: Specification,
  { name, command }: { readonly name: string; readonly command: string },
  grid: Grid,
  ledger: Ledger,
): StudyResults {
  // If several arms have the same key, take the first: it is the arm that was run.
  const byKey = new Map([...grid.cells].reverse().map(({ key, arm }) => [key, arm]))
  const timed = new Map(grid.timed.map(({ key, arm }) => [`${key} ${arm}`, arm]))
  const { search } = grid
  const states = search ? rungStatesOf(search, ledger, grid.capacity) : []
  const cells = search ? longest(states) : runsOf(grid, ledger)
  return {
    name,
    title: specification.title ?? name,
    command,
    machine: ledger.machines.join('\n'),
    seeds: grid.seeds,
    arms: grid.arms,
    matches: grid.matches,
    questions: grid.questions,
    capacity: grid.capacity,
    intervals: grid.intervals,
    pilot: pilotOf(grid, ledger),
    tuning: tuningsOf(grid, ledger),
    cells: cells.map(({ arm, seed, rate, key, config, branch }) => {
      const record = ledger.find(key, config) ?? null
      return {
        arm,
        seed,
        rate: rate === 'best' ? 'best' : 'common',
        ...(branch && { share: branch.share }),
        record: record?.status === 'finished' ? atCapacity(record, grid.capacity) : record,
      }
    }),
    ...((grid.protocol.predictions.length > 0 || ledger.registrations.length > 0) && {
      registered: { protocol: grid.protocol, registrations: ledger.registrations },
    }),
    timings: ledger.timings.filter(({ key, arm }) => timed.has(`${key} ${arm}`)),
    specialisations: ledger.specialisations.flatMap(({ key, ...found }) => {
      const arm = byKey.get(key)
      return arm === undefined ? [] : [{ ...found, arm }]
    }),
    ...(search && {
      search: {
        settings: search.search.settings,
        eta: search.search.eta,
        seed: search.search.seed,
        base: search.base,
        set: search.set,
        rungs: searchRungs(search, states),
      },
    }),
  }
}

/** The training of each configuration in the last rung that it has run in; if it has run in none, in its first rung. */
function longest(states: readonly RungState[]): Cell[] {
  const cells = new Map<string, Cell>()
  for (const { entries, cells: ofRung } of states)
    for (const [i, { arm, loss }] of entries.entries()) {
      const cell = ofRung[i]
      if (cell && (loss !== undefined || !cells.has(arm))) cells.set(arm, cell)
    }
  return [...cells.values()]
}
