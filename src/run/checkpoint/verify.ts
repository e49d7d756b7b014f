/**
 * Checks whether a checkpoint is intact. `SHA256SUMS` (readable by `sha256sum -c`) covers every other file,
 * and `state.json` has the sizes of the tensor files, so that a truncated file is found without reading it.
 * Faults are returned as a reason, not thrown: callers skip a damaged checkpoint.
 */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { checksum, errorCode } from '../../system/disk.ts'

export const SUMS = 'SHA256SUMS'
export const STATE = 'state.json'

/** The contents of state.json. */
export interface StateFile {
  readonly step: number
  /** Bytes of every file but state.json and SHA256SUMS. */
  readonly files: Readonly<Record<string, number>>
  /**
   * SHA-256 of every tensor by name, so of every expert and its optimizer state by global id: a tensor from another
   * checkpoint is recognised. Missing in checkpoints of earlier versions.
   */
  readonly census?: Readonly<Record<string, string>>
  /** State of the trainer besides tensors. */
  readonly state: unknown
}

export type Verdict = { readonly state: unknown } | { readonly reason: string }

/**
 * @param depth `sizes` reads no tensor; `contents` reads every byte.
 */
export async function verify(path: string, step: number, depth: 'sizes' | 'contents'): Promise<Verdict> {
  try {
    const sums = parseSums(await readFile(join(path, SUMS), 'utf8'))
    if (!sums) return { reason: `${SUMS} is damaged` }
    const damaged = (name: string) => ({ reason: `${name} does not match its checksum: it was changed or damaged` })
    if ((await checksum(join(path, STATE))) !== sums.get(STATE)) return damaged(STATE)
    const stored = JSON.parse(await readFile(join(path, STATE), 'utf8')) as StateFile
    if (stored.step !== step) return { reason: `its state is of step ${stored.step}` }
    for (const [name, bytes] of Object.entries(stored.files)) {
      const { size } = await stat(join(path, name))
      if (size !== bytes)
        return { reason: `${name} has ${size} bytes instead of ${bytes}: it was truncated or changed` }
      if (!sums.has(name)) return { reason: `${SUMS} does not cover ${name}` }
    }
    if (depth === 'contents')
      for (const name of Object.keys(stored.files))
        if ((await checksum(join(path, name))) !== sums.get(name)) return damaged(name)
    return { state: stored.state }
  } catch (error) {
    const missing = error instanceof Error && 'path' in error && typeof error.path === 'string' ? error.path : path
    if (errorCode(error) === 'ENOENT')
      return { reason: `${missing.slice(path.length + 1)} is missing: it was not completely written or copied` }
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
