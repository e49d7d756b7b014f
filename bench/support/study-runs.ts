/** Reads the results of a study from its folder, such as one in docs/results/, for analyses outside of its report. */
import { join } from 'node:path'
import { Runs } from '../../src/tools/study/analysis/runs.ts'
import { expand } from '../../src/tools/study/grid/grid.ts'
import { readSpecification } from '../../src/tools/study/grid/read-specification.ts'
import { Ledger } from '../../src/tools/study/results/ledger.ts'
import { resultsOf } from '../../src/tools/study/results/results.ts'

/** The runs of the study whose study.yaml and results.json.gz are in a folder. */
export async function studyRuns(directory: string): Promise<Runs> {
  const specification = await readSpecification(join(directory, 'study.yaml'))
  const [grid, ledger] = [await expand(specification), await Ledger.open(directory)]
  return new Runs(resultsOf(specification, { name: ledger.name, command: '' }, grid, ledger))
}
