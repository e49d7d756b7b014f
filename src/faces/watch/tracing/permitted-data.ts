/**
 * Checks that the dashboard may read the text of a run. A run directory may come from anywhere, and its configuration
 * names the files of its text and a cache folder. So files are read only below folders that the user named, text inside
 * the run only below its directory, and tokens are cached in the default folder.
 */
import { realpath } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { resolveSources, sourceFolder } from '../../../node/data/sources/files.ts'
import { isRunText } from '../../../train/data/sources/run-text.ts'
import { ProblemError } from '../../http/problem.ts'
import { isWithin } from '../runs/confined.ts'

/**
 * The data settings of a run without its cache folder, if all its sources may be read.
 * @param readable Real paths that may be read
 * @param directory The run directory
 * @throws ProblemError if a source is elsewhere, or was standard input
 */
export async function permittedData(
  data: RunConfig['data'],
  readable: readonly string[],
  directory: string,
): Promise<RunConfig['data']> {
  const entries = typeof data.source === 'string' ? [data.source] : data.source
  for (const entry of entries) {
    if (entry === '-') throw new ProblemError(409, 'The text of this run came from standard input and was not kept.')
    const place = sourceFolder(entry)
    if (place === undefined && !isRunText(entry)) continue
    const roots = place === undefined ? [await realpath(directory)] : readable
    // This check comes before the search, because the message must not reveal whether a file outside exists.
    if (place !== undefined && (await isWithin(roots, place)) !== true) throw outside(entry)
    const { files } = await resolveSources(entry, { scratch: tmpdir(), directory })
    for (const { path } of files) if ((await isWithin(roots, path)) !== true) throw outside(entry)
  }
  const { cache: _, ...rest } = data
  return rest
}

const outside = (entry: string): ProblemError =>
  new ProblemError(
    409,
    `The text of this run, ${entry}, does not exist or is outside the folders that may be read. ` +
      'To see its documents, name its folder when you start: choir watch ... --data FOLDER.',
  )
