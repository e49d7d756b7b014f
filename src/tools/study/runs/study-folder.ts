/** The folder of a study: a study writes neither into a run nor over another study. */

import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { option, RunError, UsageError, wording } from '../../../core/errors.ts'
import { resolveSources } from '../../../node/data/sources/files.ts'
import { isRunDirectory } from '../../../node/run/run-directory.ts'
import { errorCode, makeFolder } from '../../../node/system/disk.ts'
import type { Cell } from '../contract.ts'
import { expand } from '../grid/grid.ts'
import { Ledger } from '../results/ledger.ts'
import { runsOf } from '../results/results.ts'
import { confirmingOf, trialsOf } from '../results/tuning.ts'
import type { Specification } from '../specification.ts'
import { changedPartNotes } from './overview.ts'

/** @throws UsageError if the path is a file, or the folder of a run */
export async function checkStudyFolder(directory: string): Promise<void> {
  const canBeFolder = await stat(directory).then(
    (found) => found.isDirectory(),
    (error) => errorCode(error) !== 'ENOTDIR',
  )
  if (!canBeFolder)
    throw new UsageError(wording`invalid ${option('directory')}: "${directory}" is a file (expected a folder)`)
  if (await isRunDirectory(directory))
    throw new UsageError(
      wording`invalid ${option('directory')}: "${directory}" is a run (expected a new folder, or that of the study)`,
    )
}

/**
 * Creates the folder of a study, or opens that of one that goes on.
 * @throws what {@link checkStudyFolder} throws
 * @throws RunError if it cannot be created
 */
export async function openStudyFolder(directory: string): Promise<void> {
  await checkStudyFolder(directory)
  try {
    await makeFolder(resolve(directory))
  } catch (error) {
    throw new RunError(`cannot create ${directory}: ${(error as Error).message}`)
  }
}

/**
 * A study that shares no run with the results in its folder would replace the report and the specification of another
 * one, whose predictions would no longer count as registered before the first result. Results that a study cannot use
 * only because a part of the user's own changed, or a default, are its own: it says so, and trains again.
 * @param cells The runs of the study that are known before the first of them.
 * @throws UsageError if the folder has results of another study
 */
export function refuseOtherStudy(cells: readonly Cell[], ledger: Ledger, directory: string): void {
  if (ledger.ended === 0 || cells.length === 0) return
  const keys = new Set(ledger.records.map(({ key }) => key))
  if (cells.some(({ key }) => keys.has(key)) || changedPartNotes(cells, ledger).length > 0) return
  const of = ledger.name === '' ? 'another study' : `the study ${ledger.name}`
  throw new UsageError(
    wording`invalid ${option('directory')}: "${directory}" has results of ${of}, none of which this study can use: all of its runs have other settings or another text (expected a new folder, or that of this study)`,
  )
}

/** The checks that a study makes before its first run, without a run and without its folder: for a study that starts later. */

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
