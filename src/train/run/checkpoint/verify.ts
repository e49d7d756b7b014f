/**
 * Checks whether a checkpoint is intact. `SHA256SUMS` (readable by `sha256sum -c`) covers every other file, and
 * `state.json` has the sizes of the tensor files, so that a truncated file is found without reading it. Faults are
 * returned as a reason, not thrown, because callers skip a damaged checkpoint. Only the error of a file that may not be
 * read is thrown.
 */
import { RunError } from '../../../core/errors.ts'
import { parseStateFile, STATE, SUMS } from './description.ts'

export type Verdict = { readonly state: unknown } | { readonly reason: string }

/** The files of a checkpoint by name. */
export interface CheckpointFiles {
  text(name: string): Promise<string>
  size(name: string): Promise<number>
  /** SHA-256 in hexadecimal. */
  sum(name: string): Promise<string>
}

/** Thrown by {@link CheckpointFiles} for a name without a file. */
export class MissingFile extends Error {}
/**
 * Thrown by {@link CheckpointFiles} for a file that may not be read. The checkpoint is not damaged then, and a resumed
 * training must not skip and replace it.
 */
export class ForbiddenFile extends RunError {}

/**
 * @param depth `sizes` reads no tensor; `contents` reads every byte.
 */
export async function verify(files: CheckpointFiles, step: number, depth: 'sizes' | 'contents'): Promise<Verdict> {
  try {
    const sums = parseSums(await files.text(SUMS))
    if (!sums) return { reason: `${SUMS} is damaged` }
    const damaged = (name: string) => ({ reason: `${name} does not match its checksum: it was changed or damaged` })
    if ((await files.sum(STATE)) !== sums.get(STATE)) return damaged(STATE)
    const stored = parseStateFile(await files.text(STATE))
    if (stored.step !== step) return { reason: `its state is of step ${stored.step}` }
    for (const [name, bytes] of Object.entries(stored.files)) {
      const size = await files.size(name)
      if (size !== bytes)
        return { reason: `${name} has ${size} bytes instead of ${bytes}: it was truncated or changed` }
      if (!sums.has(name)) return { reason: `${SUMS} does not cover ${name}` }
    }
    if (depth === 'contents')
      for (const name of Object.keys(stored.files)) if ((await files.sum(name)) !== sums.get(name)) return damaged(name)
    return { state: stored.state }
  } catch (error) {
    if (error instanceof ForbiddenFile) throw error
    if (error instanceof MissingFile)
      return { reason: `${error.message} is missing: it was not completely written or copied` }
    return { reason: `it cannot be read: ${error instanceof Error ? error.message : error}` }
  }
}

function parseSums(text: string): Map<string, string> | undefined {
  const sums = new Map<string, string>()
  for (const line of text.split('\n').slice(0, -1)) {
    const [, sum, name] = /^([0-9a-f]{64}) [ *](.+)$/.exec(line) ?? []
    if (sum === undefined || name === undefined) return undefined
    sums.set(name, sum)
  }
  return text.endsWith('\n') ? sums : undefined
}
