/**
 * Text that lies in the run directory itself, because a browser has trained on it: entries of `data.source` such as
 * `run:text/notes.txt`, relative to the run directory wherever that is.
 */
import { UsageError } from '../../../core/errors.ts'

const PREFIX = 'run:'

export const isRunText = (entry: string): boolean => entry.startsWith(PREFIX)

/** @param path Names of folders and the file, separated by `/`. */
export const runTextEntry = (path: string): string => PREFIX + path

/**
 * The path of an entry in the run directory, separated by `/`.
 * @throws UsageError if the path leads out of the run directory
 */
export function runTextPath(entry: string): string {
  const path = entry.slice(PREFIX.length)
  const names = path.split('/')
  if (path.includes('\\') || names.some((name) => name === '' || name === '.' || name === '..' || name.includes(':')))
    throw new UsageError(`invalid data.source: ${entry} (expected ${PREFIX} and a path inside the run directory)`)
  return path
}
