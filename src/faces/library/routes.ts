/** Records of routes and their atlases, for callers of the library. */
import { abortSignal, callback, checkOptions, expectPath } from '../../core/config/options.ts'
import { type RoutesRecord, readRoutes as read } from '../../node/routes/read-routes.ts'
import { writeResponses as writeAnswers } from '../../node/routes/write-responses.ts'
import { type AtlasOptions, writeAtlas as write } from '../../tools/routes/atlas/atlas.ts'
import type { Atlas } from '../../tools/routes/atlas/contract.ts'
import { compareRoutes as compare, type RoutesComparison } from '../../tools/routes/compare.ts'
import { eitherSignal, listening } from './listening.ts'

/**
 * Opens a record of routes. Its rows are checked while they are read.
 * @param folder Folder of a record, as `run.recordRoutes` leaves it.
 * @throws UsageError if the folder has no record, or one of a later version; RunError if its description is damaged
 */
export async function readRoutes(folder: string): Promise<RoutesRecord> {
  expectPath('folder', folder, 'the folder of a record')
  return read(folder)
}

/**
 * Compares two records of the same text: how often do their routers choose the same experts?
 * @throws UsageError as {@link readRoutes}, or if the records are of other texts or routers
 */
export async function compareRoutes(first: string, second: string): Promise<RoutesComparison> {
  expectPath('first', first, 'the folder of a record')
  expectPath('second', second, 'the folder of a record')
  return compare(first, second)
}

/**
 * Makes the atlas of a record and writes it beside the record, as `atlas.json` and `atlas.html`; files of an earlier
 * atlas are replaced.
 * @throws UsageError as {@link readRoutes}, or when an option is wrong; RunError if the record is damaged; the reason of
 * `signal` when it is aborted
 */
export async function writeAtlas(folder: string, options: AtlasOptions = {}): Promise<Atlas> {
  expectPath('folder', folder, 'the folder of a record')
  checkOptions('options of writeAtlas', options, {}, { signal: abortSignal, onMessage: callback })
  return listening(options.onMessage, (onMessage, failed) =>
    write(folder, { onMessage, signal: eitherSignal(options.signal, failed) }),
  )
}

/**
 * Writes a record to a new file in the form in which vLLM returns the routes of its answers: a line of JSON for each
 * document, with `token_ids` and `routed_experts`, an int32 array [tokens, layers, choices] in NumPy's format and base64.
 * @returns The number of lines.
 * @throws UsageError as {@link readRoutes}, if the routers have no common number of choices, or if the file exists
 */
export async function writeResponses(folder: string, file: string): Promise<number> {
  expectPath('folder', folder, 'the folder of a record')
  expectPath('file', file, 'a new file')
  return writeAnswers(folder, file)
}
