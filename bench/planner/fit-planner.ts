/**
 * Fits the constants of the planner to the published step times, with all systems and with each system left out, and
 * writes them to src/tools/plan/inputs/fitted.ts and published/left-out.json. The same rows give the same files.
 *
 *     npx tsx bench/planner/fit-planner.ts
 */
import { writeFile } from 'node:fs/promises'
import {
  type ConstantName,
  constantNames,
  type EfficiencyFamily,
  efficiencyFamilies,
  efficiencyFamilyOf,
} from '../../src/tools/plan/inputs/constants.ts'
import { type FitRow, fitConstants } from './accuracy/fit.ts'
import { publishedRows } from './accuracy/published.ts'
import { PublishedRun, withConstants } from './accuracy/published-run.ts'
import { leftOutFile, validate } from './accuracy/validation.ts'

type Row = FitRow & { readonly family: EfficiencyFamily }

const rows = publishedRows
  .map((row) => new PublishedRun(row))
  .filter(({ metric }) => metric === 'step time')
  .map((run): Row => {
    const family = efficiencyFamilyOf(run.row.device)
    return {
      family,
      system: run.row.system,
      seconds: run.published,
      predict: (constants) => run.predict(withConstants(run.cluster, family, constants)),
    }
  })

const rounded = (value: number): number => Number(value.toPrecision(4))
const all = fitConstants(rows)

const constantsOf = (some: readonly Row[]): number[] => {
  const constants = fitConstants(some, all)
  return constantNames.map((name) => rounded(constants[name]))
}
function leftOut(names: readonly string[], isOf: (row: Row, name: string) => boolean): Record<string, number[]> {
  return Object.fromEntries(
    names.map((name) => {
      process.stderr.write(`without ${name}\n`)
      return [name, constantsOf(rows.filter((row) => !isOf(row, name)))]
    }),
  )
}

const systems = [...new Set(rows.map(({ system }) => system))]
const fits = {
  fitted: Object.fromEntries(constantNames.map((name) => [name, rounded(all[name])])) as Record<ConstantName, number>,
  withoutSystem: leftOut(systems, ({ system }, name) => system === name),
  withoutFamily: leftOut(efficiencyFamilies, ({ family }, name) => family === name),
}
const factors = Object.entries(validate(fits).factors).map(
  ([program, { stepTime, stepTimeUnfitted, memory }]) =>
    `${program}: { stepTime: ${rounded(stepTime)}, stepTimeUnfitted: ${rounded(stepTimeUnfitted)}, memory: ${rounded(memory)} }`,
)
const text = `/** Written by \`npx tsx bench/planner/fit-planner.ts\`: constants fitted to published measurements. Do not edit. */
import type { Constants } from './constants.ts'
import type { IntervalsByProgram } from './intervals.ts'

/** Fitted to all rows. */
export const fitted: Constants = ${JSON.stringify(fits.fitted)}

/** Learnt from the rows of systems left out. */
export const intervalFactors: IntervalsByProgram = { ${factors.join(', ')} }
`
await writeFile(new URL('../../src/tools/plan/inputs/fitted.ts', import.meta.url), text)
const { withoutSystem, withoutFamily } = fits
await writeFile(leftOutFile, `${JSON.stringify({ withoutSystem, withoutFamily }, null, 2)}\n`)
