/** Opens folders and runs: for the collection that follows them, and for a page that is made of one run once. */
import { readdir, realpath } from 'node:fs/promises'
import { UsageError } from '../../../core/errors.ts'
import { type Discovered, Discovery } from './discovery.ts'
import type { PolledRun } from './run.ts'
import { RunDirectoryReader } from './run-directory-reader.ts'
import { TraceReader } from './trace-reader.ts'

/** Limit of the bytes for loads of experts of one run. */
export const MAX_RUN_MEMORY = 128 << 20

export const readerOf = (found: Discovered): PolledRun =>
  found.kind === 'choir' ? new RunDirectoryReader(found) : new TraceReader(found, found.files)

/** The real path of a folder. @throws UsageError for a folder that does not exist or cannot be read */
export async function realFolder(root: string): Promise<string> {
  try {
    const real = await realpath(root)
    await readdir(real)
    return real
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const reason =
      code === 'ENOENT'
        ? 'there is no such folder'
        : code === 'ENOTDIR'
          ? 'it is a file'
          : `it cannot be read: ${message}`
    throw new UsageError(
      `cannot watch ${JSON.stringify(root)}: ${reason} (expected a run directory, or a folder with runs below)`,
    )
  }
}

/** Number of runs that a message lists. */
const LISTED = 4

/**
 * Reads the only run in a folder as far as it is written.
 * @throws UsageError if there is no run, or more than one
 */
export async function readOnlyRun(folder: string, signal: AbortSignal): Promise<PolledRun> {
  const real = await realFolder(folder)
  const [found, ...others] = await new Discovery().find([real], signal)
  signal.throwIfAborted()
  if (!found) throw new UsageError(`there is no run in ${JSON.stringify(folder)} (expected a run directory)`)
  if (others.length > 0) {
    const paths = [found, ...others].slice(0, LISTED).map(({ path }) => path)
    const more = others.length + 1 > LISTED ? ', ...' : ''
    throw new UsageError(
      `${JSON.stringify(folder)} has ${others.length + 1} runs (expected one of them: ${paths.join(', ')}${more})`,
    )
  }
  const run = readerOf(found)
  run.limit(MAX_RUN_MEMORY)
  // Read once more after the end: then a last snapshot that is no longer written counts as complete.
  for (let isBehind = true, again = true; isBehind || again; ) {
    again = isBehind
    ;({ isBehind } = await run.poll(signal))
    signal.throwIfAborted()
  }
  return run
}
