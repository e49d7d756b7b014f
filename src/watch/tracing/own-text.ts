/**
 * The text of a run, as far as the dashboard may read it. A run directory may come from anywhere, and its
 * configuration says which files are its text and where tokens are kept: so a path in it counts only where it leads
 * below the folders that the user named, and tokens are kept where they always are.
 */
import { tmpdir } from 'node:os'
import type { RunConfig } from '../../config/run-config.ts'
import { placeOfSource, resolveSources } from '../../data/sources/files.ts'
import { ProblemError } from '../http/problem.ts'
import { isWithin } from '../runs/confined.ts'

/**
 * @param places Real paths of what may be read
 * @throws ProblemError when a source is elsewhere, or was standard input
 */
export async function ownText(data: RunConfig['data'], places: readonly string[]): Promise<RunConfig['data']> {
  const entries = typeof data.source === 'string' ? [data.source] : data.source
  for (const entry of entries) {
    if (entry === '-') throw new ProblemError(409, 'The text of this run came from standard input, and is gone.')
    const place = placeOfSource(entry)
    if (place === undefined) continue
    // Before anything is looked for: what is not found elsewhere is not told either.
    if ((await isWithin(places, place)) !== true) throw outside(entry)
    for (const { path } of await resolveSources(entry, tmpdir()))
      if ((await isWithin(places, path)) !== true) throw outside(entry)
  }
  const { cache: _, ...rest } = data
  return rest
}

const outside = (entry: string): ProblemError =>
  new ProblemError(
    409,
    `The text of this run, ${entry}, is not there or lies outside of what may be read. ` +
      'To see its documents, name its folder when you start: choir watch ... --data FOLDER.',
  )
