/**
 * Predicts runs from the law of a map before they test it, and compares the predictions with their results. A map is a
 * study of the number of training tokens from which experts pay; its law is fitted to the losses.
 *
 *   npx tsx bench/studies/map.ts predict LAW.json CELLS.yaml --out predictions.json      commit the file before the runs begin
 *   choir study CELLS.yaml --out DIR
 *   npx tsx bench/studies/map.ts coverage predictions.json DIR --out coverage.json
 *
 * CELLS.yaml is the specification of a study whose questions have the view `map`; DIR/study.yaml is its copy.
 *
 *   npx tsx bench/studies/map.ts simulate --maps 40     how often intervals are right for made-up results of known laws
 *   npx tsx bench/studies/map.ts forms DIR              errors of forms of the law for results that they were not fitted to
 */
import { readFile } from 'node:fs/promises'
import { Command } from 'commander'
import { RunError, UsageError } from '../../src/core/errors.ts'
import { parseJson } from '../../src/core/text/json.ts'
import { count, fixed, percent, plural } from '../../src/core/text/numbers.ts'
import { numberOption, ranges } from '../../src/faces/cli/options.ts'
import { replaceFile } from '../../src/node/system/disk.ts'
import { isGain } from '../../src/tools/law/centred-law.ts'
import { parseLaw } from '../../src/tools/law/law-file.ts'
import { simulatedCoverage, truths } from '../../src/tools/law/testing/simulated.ts'
import { linesOf } from '../../src/tools/study/analysis/map/measured.ts'
import { pairsOf } from '../../src/tools/study/analysis/map/pairs.ts'
import {
  type Coverage,
  coverageOf,
  type Predictions,
  predictionsOf,
  sharesOf,
} from '../../src/tools/study/analysis/map/predictions.ts'
import { studyLaw } from '../../src/tools/study/analysis/map/study-law.ts'
import { expand } from '../../src/tools/study/grid/grid.ts'
import { readSpecification } from '../../src/tools/study/grid/read-specification.ts'
import { runCommand, tableText } from '../support/command.ts'
import { studyRuns } from '../support/study-runs.ts'
import { errorTable, intervalTable } from './map/forms.ts'

/** @throws UsageError naming the file, if it cannot be read or `parse` refuses its text */
async function parsed<T>(file: string, parse: (text: string) => T): Promise<T> {
  try {
    return parse(await readFile(file, 'utf8'))
  } catch (error) {
    throw new UsageError(`cannot read ${file}: ${(error as Error).message}`)
  }
}

const range = (low: number | null, high: number | null): string =>
  `${low === null ? 'never' : count(low)} to ${high === null ? 'never' : count(high)}`

const cellRow = ({ active, experts, tokens, difference, low, high }: Predictions['cells'][number]): string[] => [
  count(active),
  String(experts),
  count(tokens),
  fixed(difference, 4),
  `${fixed(low, 4)} to ${fixed(high, 4)}`,
]
const columns = ['active', 'experts', 'tokens', 'predicted', '80 % interval']

async function predict(lawFile: string, specification: string, { out }: { readonly out: string }): Promise<void> {
  const law = await parsed(lawFile, parseLaw)
  const grid = await expand(await readSpecification(specification))
  const predictions = predictionsOf(law, grid)
  if (predictions.cells.length === 0)
    throw new UsageError(
      `nothing to predict in ${specification} (expected a question with view: map, whose baseline is dense and whose arms send a token to one expert)`,
    )
  const vocabularies = new Set(grid.cells.map(({ config }) => config.model.vocabulary))
  if ([...vocabularies].some((vocabulary) => vocabulary !== law.vocabulary))
    throw new UsageError(`invalid model.vocabulary: ${[...vocabularies].join(', ')} (the law is of ${law.vocabulary})`)
  await replaceFile(out, `${JSON.stringify(predictions, null, 2)}\n`)
  process.stdout.write(
    `${tableText([[...columns, 'beyond the law'], ...predictions.cells.map((cell) => [...cellRow(cell), cell.outside ?? ''])], 'rrrrrl')}\n\n${tableText(
      [
        ['active', 'experts', 'break-even', '80 % interval'],
        ...predictions.breakEvens.map(({ active, experts, tokens, low, high }) => [
          count(active),
          String(experts),
          tokens === null ? 'never' : count(tokens),
          range(low, high),
        ]),
      ],
      'rrrr',
    )}\n`,
  )
}

interface CoverageFlags {
  readonly out?: string
  readonly seeds?: number
}

async function coverage(file: string, directory: string, { out, seeds }: CoverageFlags): Promise<void> {
  const predictions = (await parsed(file, parseJson)) as Predictions
  const runs = await studyRuns(directory)
  const maps = runs.results.questions.filter(({ view }) => view === 'map').flatMap(({ contrasts }) => contrasts)
  const used = runs.results.seeds.slice(0, seeds)
  const pairs = pairsOf(runs, { contrasts: maps }).filter(({ seed }) => used.includes(seed))
  const found = coverageOf(predictions, pairs)
  if (found.cells.length === 0) throw new RunError(`no predicted cell has results in ${directory} yet`)
  if (out !== undefined) await replaceFile(out, `${JSON.stringify({ ...found, ...sharesOf(found) }, null, 2)}\n`)
  process.stdout.write(
    `${tableText([[...columns, 'measured', 'inside'], ...found.cells.map((cell) => [...cellRow(cell), fixed(cell.measured, 4), cell.inside ? 'yes' : 'no'])], 'rrrrrrl')}\n\n${tableText(
      [
        ['active', 'experts', 'break-even predicted', 'measured', 'error'],
        ...found.breakEvens.map(({ active, experts, tokens, measured, error }) => [
          count(active),
          String(experts),
          count(tokens),
          count(measured),
          percent(error, 0),
        ]),
      ],
      'rrrrr',
    )}\n\n${summary(found)}\n`,
  )
}

function summary(found: Coverage): string {
  const { insideShare, cellsWithOtherSeeds, meanAbsoluteError, breakEvensWithinQuarter } = sharesOf(found)
  const otherSeeds =
    cellsWithOtherSeeds > 0
      ? `\n${cellsWithOtherSeeds} of ${plural(found.cells.length, 'cell')} ${cellsWithOtherSeeds === 1 ? 'is' : 'are'} measured with another number of seeds than the interval was made for (--seeds N uses only the first N seeds of the study).`
      : ''
  return (
    `${percent(insideShare, 0)} of ${found.cells.length} cells are inside their 80 % interval; mean absolute error ` +
    `${fixed(meanAbsoluteError, 4)} nats a token; ${breakEvensWithinQuarter} of ${found.breakEvens.length} break-evens ` +
    `are within 25 %${found.missing > 0 ? `; ${found.missing} predicted cells have no results yet` : ''}.` +
    otherSeeds
  )
}

function simulate({ maps }: { readonly maps: string }): void {
  const rows = Object.entries(truths).map(([name, truth]) => {
    const { between, larger, longer } = simulatedCoverage(truth, Number(maps), 1)
    return [name, ...[between, larger, longer].map(({ inside, width }) => `${percent(inside, 0)} (${fixed(width, 3)})`)]
  })
  const head = ['results', 'between sizes', 'twice the largest', '2 to 4 times as long']
  process.stdout.write(
    `${tableText([head, ...rows], 'lrrr')}\n\nShare of new measurements inside their 80 % intervals (mean width, nats a token).\n`,
  )
}

async function compareForms(directory: string): Promise<void> {
  const runs = await studyRuns(directory)
  const found = studyLaw(runs.results)
  if (!found?.law) throw new RunError(`there is no law of ${directory}: it needs ${found?.lacking ?? 'a map'}`)
  const maps = runs.results.questions.filter(({ view }) => view === 'map').flatMap(({ contrasts }) => contrasts)
  const { compared } = found.law
  const published = compared.filter(({ form }) => !isGain(form))
  const best = published.reduce((one, other) => (other.error < one.error ? other : one))
  const shown = [best, ...compared.filter(({ form }) => isGain(form))].map(({ form }) => form)
  process.stdout.write(
    `${errorTable(found.pairs)}\n\nRoot mean square errors of gains, nats a token: of all results, and of sizes, numbers of experts and the longest\ntraining of each size that the fit leaves out.\n\n`,
  )
  process.stdout.write(
    `${intervalTable(found.pairs, linesOf(pairsOf(runs, { contrasts: maps })), shown)}\n\nInside: results in their 80 % interval. Width: of these intervals. From the start: break-evens before the shortest\ntraining that the law has there too. Within 25 %: later break-evens that the law misses by at most a quarter.\n`,
  )
}

const program = new Command('map')
program
  .command('predict')
  .argument('<law>')
  .argument('<cells>')
  .requiredOption('--out <file>', 'file of the predictions')
  .action(predict)
program
  .command('coverage')
  .argument('<predictions>')
  .argument('<directory>', 'of the study')
  .option('--out <file>', 'file of the comparison')
  .addOption(
    numberOption('--seeds <n>', 'use only the first n seeds of the study (default: all)', ranges.positiveInteger),
  )
  .action(coverage)
program.command('forms').argument('<directory>', 'of the study').action(compareForms)
program.command('simulate').option('--maps <n>', 'made-up maps of each law', '40').action(simulate)
await runCommand(program)
