/**
 * The files of a run directory in memory, by their paths in it, and as a zip file. A run that was trained in a browser
 * leaves the browser as a zip file, which becomes a run directory when it is unpacked.
 */
import { strFromU8, strToU8, unzipSync, type Zippable, zipSync } from 'fflate'
import { UsageError } from '../../core/errors.ts'
import { bytes } from '../../core/text/numbers.ts'

export type RunFiles = ReadonlyMap<string, Uint8Array>

export const textOf = (bytes: Uint8Array): string => strFromU8(bytes)
export const bytesOf = (text: string): Uint8Array => strToU8(text)

/** Tensors do not compress; everything else does. */
const isTensors = (path: string): boolean => path.endsWith('.safetensors')

export function zipRun(files: RunFiles): Uint8Array {
  const entries: Zippable = {}
  for (const [path, contents] of files) entries[path] = [contents, { level: isTensors(path) ? 0 : 6 }]
  return zipSync(entries)
}

/**
 * Limit of the unpacked bytes of a zip file of `zipped` bytes. Tensors do not compress, and logs and texts compress to
 * about a tenth, but a hostile file could unpack to a thousand times its size.
 */
const mostBytes = (zipped: number): number => 2 ** 26 + 16 * zipped

/**
 * The files of the run in a zip file, which may have them in a folder.
 * @throws UsageError if it is no zip file, holds no run, or holds more bytes than a run could
 */
export function unzipRun(zip: Uint8Array): RunFiles {
  let entries: Record<string, Uint8Array>
  try {
    let left = mostBytes(zip.length)
    entries = unzipSync(zip, {
      filter: ({ originalSize }) => {
        left -= originalSize
        if (left >= 0) return true
        throw new UsageError(
          `invalid run: the zip file of ${bytes(zip.length)} holds more than ${bytes(mostBytes(zip.length))}, which no run ` +
            'compresses to so little (zip the run directory again)',
        )
      },
    })
  } catch (error) {
    if (error instanceof UsageError) throw error
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
      .map(([path, contents]) => [path.slice(folder.length), contents]),
  )
}
