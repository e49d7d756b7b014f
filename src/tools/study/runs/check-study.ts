/** The checks that a study makes before its first run, without a run and without its folder: for a study that starts later. */
import { resolveSources } from '../../../node/data/sources/files.ts'
import { expand } from '../grid/grid.ts'
import type { Specification } from '../grid/specification.ts'
import { Ledger } from '../results/ledger.ts'
import { runsOf } from '../results/results.ts'
import { checkStudyFolder, refuseOtherStudy } from './study-folder.ts'
import { confirmingOf, trialsOf } from './tuning.ts'

/**
 * Writes nothing. Texts are looked for but not read, since they may be large.
 * @throws UsageError when the specification is wrong, a text is missing, or the folder cannot be that of the study
 */
export async function checkStudy(specification: Specification, directory: string): Promise<void> {
  const grid = await expand(specification)
  await checkStudyFolder(directory)
  const ledger = await Ledger.toContinue(directory)
  const known = [...runsOf(grid, ledger), ...trialsOf(grid, ledger), ...confirmingOf(grid, ledger)]
  refuseOtherStudy(known, ledger, directory)
  const sources = new Set([...known.flatMap(({ config }) => config.data.source), ...specification.elsewhere])
  // A study refuses standard input, for which alone the folder would be.
  await resolveSources([...sources], { scratch: '' })
}
