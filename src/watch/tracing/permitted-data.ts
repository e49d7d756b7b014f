/**
 * Checks that the dashboard may read the text of a run. A run directory may come from anywhere, and its configuration
 * names the files of its text and a cache folder. So its paths are read only below folders that the user named, and
 * its tokens are cached in the default folder.
 */
import { tmpdir } from 'node:os'
import type { RunConfig } from '../../config/run-config.ts'
import { resolveSources, sourceFolder } from '../../data/sources/files.ts'
import { ProblemError } from '../http/problem.ts'
import { isWithin } from '../runs/confined.ts'

/**
 * @param readable Real paths that may be read
 * @throws ProblemError if a source is elsewhere, or was standard input
 */
export async function permittedData(data: RunConfig['data'], readable: readonly string[]): Promise<RunConfig['data']> {
  const entries = typeof data.source === 'string' ? [data.source] : data.source
  for (const entry of entries) {
    if (entry === '-') throw new ProblemError(409, 'The text of this run came from standard input and was not kept.')
    const place = sourceFolder(entry)
    if (place === undefined) continue
    // Before the search: the message must not reveal whether a file outside exists.
    if ((await isWithin(readable, place)) !== true) throw outside(entry)
    for (const { path } of await resolveSources(entry, tmpdir()))
      if ((await isWithin(readable, path)) !== true) throw outside(entry)
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
