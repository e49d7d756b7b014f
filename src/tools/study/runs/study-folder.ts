/** The folder of a study: a study writes neither into a run nor over another study. */
import { stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { option, RunError, UsageError, wording } from '../../../core/errors.ts'
import { isRunDirectory } from '../../../node/run/run-directory.ts'
import { errorCode, makeFolder } from '../../../node/system/disk.ts'
import type { Cell } from '../contract.ts'
import type { Ledger } from '../results/ledger.ts'

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
 * A study that can use none of the results in its folder would replace the report and the specification of another one,
 * whose predictions would no longer count as registered before the first result. A study whose specification was changed
 * in all of its arms is known by its name and its text.
 * @param cells The runs of the study that are known before the first of them.
 * @throws UsageError if the folder has results of another study
 */
export function refuseOtherStudy(
  cells: readonly Cell[],
  ledger: Ledger,
  { name, directory }: { readonly name: string; readonly directory: string },
): void {
  if (ledger.ended === 0 || cells.length === 0) return
  if (cells.some(({ key, config }) => ledger.find(key, config))) return
  const textOf = ({ config }: Pick<Cell, 'config'>) => JSON.stringify(config.data.source)
  const texts = new Set(cells.map(textOf))
  const hasText = ledger.records.some((record) => texts.has(textOf(record)))
  if (hasText && (ledger.name === '' || basename(ledger.name) === basename(name))) return
  const of = ledger.name === '' ? 'another study' : `the study ${ledger.name}${hasText ? '' : ' on another text'}`
  throw new UsageError(
    wording`invalid ${option('directory')}: "${directory}" has results of ${of}, none of which this study can use (expected a new folder, or that of this study)`,
  )
}
