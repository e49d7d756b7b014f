/**
 * The files of a run directory in memory, by their paths in it, and as a zip file. A run that was trained in a browser
 * leaves the browser like this, and is a run directory once it is unpacked.
 */
import { strFromU8, strToU8, unzipSync, type Zippable, zipSync } from 'fflate'
import { UsageError } from '../../core/errors.ts'

export type RunFiles = ReadonlyMap<string, Uint8Array>

export const textOf = (bytes: Uint8Array): string => strFromU8(bytes)
export const bytesOf = (text: string): Uint8Array => strToU8(text)

/** Tensors do not compress; everything else does. */
const isTensors = (path: string): boolean => path.endsWith('.safetensors')

export function zipRun(files: RunFiles): Uint8Array {
  const entries: Zippable = {}
  for (const [path, bytes] of files) entries[path] = [bytes, { level: isTensors(path) ? 0 : 6 }]
  return zipSync(entries)
}

/**
 * The files of the run in a zip file, which may have them in a folder.
 * @throws UsageError if it is no zip file, or holds no run
 */
export function unzipRun(zip: Uint8Array): RunFiles {
  let entries: Record<string, Uint8Array>
  try {
    entries = unzipSync(zip)
  } catch (error) {
    throw new UsageError(`invalid run: it is not a zip file that can be read (${(error as Error).message})`)
  }
  const [config] = Object.keys(entries)
    .filter((path) => /(?:^|\/)config\.json$/.test(path))
    .sort((a, b) => a.length - b.length)
  if (config === undefined) throw new UsageError('invalid run: the zip file has no config.json')
  const folder = config.slice(0, -'config.json'.length)
  return new Map(
    Object.entries(entries)
      .filter(([path]) => path.startsWith(folder) && !path.endsWith('/'))
      .map(([path, bytes]) => [path.slice(folder.length), bytes]),
  )
}
