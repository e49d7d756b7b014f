/** From grid and ledger to what the analysis is given: each arm and seed with its record, under its own name. */
import type { StudyResults } from './contract.ts'
import type { Grid } from './grid.ts'
import type { Ledger } from './ledger.ts'
import type { Specification } from './specification.ts'

export function resultsOf(specification: Specification, grid: Grid, ledger: Ledger): StudyResults {
  const byKey = new Map(grid.cells.map(({ key, arm }) => [key, arm]))
  const timed = new Map(grid.timed.map(({ key, arm }) => [`${key} ${arm}`, arm]))
  return {
    name: ledger.name,
    title: specification.title ?? ledger.name,
    command: ledger.command,
    machine: ledger.machine,
    seeds: grid.seeds,
    arms: grid.arms,
    questions: grid.questions,
    cells: grid.cells.map(({ arm, seed, key, config }) => ({ arm, seed, record: ledger.find(key, config) ?? null })),
    timings: ledger.timings.filter(({ key, arm }) => timed.has(`${key} ${arm}`)),
    specialisations: ledger.specialisations.flatMap(({ key, ...found }) => {
      const arm = byKey.get(key)
      return arm === undefined ? [] : [{ ...found, arm }]
    }),
  }
}
