/** From grid and ledger to what the analysis is given: each arm and seed with its record, under its own name. */
import type { StudyResults } from './contract.ts'
import type { Grid } from './grid.ts'
import type { Ledger } from './ledger.ts'
import type { Specification } from './specification.ts'

export function resultsOf(
  specification: Specification,
  { name, command }: { readonly name: string; readonly command: string },
  grid: Grid,
  ledger: Ledger,
): StudyResults {
  // Of equal arms the first, which is the one that was run.
  const byKey = new Map([...grid.cells].reverse().map(({ key, arm }) => [key, arm]))
  const timed = new Map(grid.timed.map(({ key, arm }) => [`${key} ${arm}`, arm]))
  return {
    name,
    title: specification.title ?? name,
    command,
    machine: ledger.machines.join('; '),
    seeds: grid.seeds,
    arms: grid.arms,
    questions: grid.questions,
    cells: grid.cells.map(({ arm, seed, key, config }) => ({
      arm,
      seed,
      rate: 'common',
      record: ledger.find(key, config) ?? null,
    })),
    capacity: 'train',
    pilot: null,
    tuning: [],
    timings: ledger.timings.filter(({ key, arm }) => timed.has(`${key} ${arm}`)),
    specialisations: ledger.specialisations.flatMap(({ key, ...found }) => {
      const arm = byKey.get(key)
      return arm === undefined ? [] : [{ ...found, arm }]
    }),
  }
}
