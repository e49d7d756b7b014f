/**
 * Resolves `data.source` (corpora by name, paths, folders, globs, standard input) to a list of files, in
 * an order that does not depend on the machine.
 */
import { createWriteStream, existsSync } from 'node:fs'
import { open, readdir, stat } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { UsageError } from '../../../core/errors.ts'
import { nearestName } from '../../../core/text/nearest.ts'
import { corpusNames } from '../../../train/data/sources/corpus.ts'
import { isRunText, runTextPath } from '../../../train/data/sources/run-text.ts'
import { byName, sourceFile } from '../../../train/data/sources/source-file.ts'
import { type Skipped, skippedText } from '../../../train/data/sources/unreadable.ts'
import { Progress } from '../../../train/data/streams/progress.ts'
import { kindOf } from '../../system/read-text.ts'
import { corpusFiles } from './corpora.ts'
import { type FolderFile, filesInFolder } from './folder.ts'
import { filesOfGlob, isGlob } from './glob.ts'
import type { InputFile, Resolved } from './input-file.ts'
import { byteChunks } from './text.ts'

export interface Places {
  /** Folder for standard input, which is read once and needed several times. */
  readonly scratch: string
  /** The run directory, for entries that begin with `run:`. */
  readonly directory?: string | undefined
  readonly stdin?: Readable | undefined
  readonly signal?: AbortSignal | undefined
  /** Receives messages about the progress of reading standard input. */
  readonly onProgress?: ((message: string) => void) | undefined
}

/** Error for an entry that names no file, folder or corpus, or a glob that matches no file. */
export class MissingText extends UsageError {}

/**
 * Lists the files of `data.source`.
 * @throws UsageError for a name, path or glob that matches nothing, and for a path that is not a file or folder
 */
export async function resolveSources(
  source: string | readonly string[],
  { scratch, directory, stdin = process.stdin, signal, onProgress = () => {} }: Places,
): Promise<Resolved> {
  const files = new Map<string, InputFile>()
  const skipped: Skipped[] = []
  for (const entry of new Set(typeof source === 'string' ? [source] : source)) {
    const found =
      entry === '-'
        ? only(await spool(stdin, scratch, onProgress, signal))
        : await resolveSource(entry, directory, signal)
    for (const file of found.files) files.set(file.path, files.get(file.path) ?? file)
    skipped.push(...found.skipped)
  }
  return { files: [...files.values()], skipped }
}

const only = (file: InputFile): Resolved => ({ files: [file], skipped: [] })

/**
 * The file or folder that contains the files of an entry of `data.source`; for a glob, the folder before its first
 * pattern. Undefined for corpora, standard input, and text in the run directory.
 */
export function sourceFolder(entry: string): string | undefined {
  if (entry === '-' || corpusNames.includes(entry) || isRunText(entry)) return undefined
  const path = resolve(entry)
  if (existsSync(path)) return path
  const [plain = ''] = entry.split(/[*?[\]{}]/, 1)
  return plain === entry ? path : resolve(/[\\/]$/.test(plain) ? plain : dirname(plain))
}

async function resolveSource(
  entry: string,
  directory: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Resolved> {
  const corpus = await corpusFiles(entry)
  if (corpus) return { files: corpus, skipped: [] }
  const path = isRunText(entry) ? pathInRun(entry, directory) : resolve(entry)
  if (existsSync(path)) {
    const target = await stat(path)
    if (target.isDirectory()) return filesOf(entry, path, signal)
    if (target.isFile()) return only({ ...sourceFile(basename(path), 'named'), path })
    throw new UsageError(
      `data.source: ${entry} is ${kindOf(target)} (expected a file or folder; to read a pipe, use - for standard input)`,
    )
  }
  if (isRunText(entry)) throw new UsageError(`data.source: there is no ${runTextPath(entry)} in ${directory}`)
  if (isGlob(entry)) return matchesOf(entry, signal)
  throw new MissingText(`data.source: there is no file, folder or corpus "${entry}"${await suggestion(entry)}`)
}

async function filesOf(entry: string, path: string, signal: AbortSignal | undefined): Promise<Resolved> {
  const { files, skipped } = await filesInFolder(path, signal).catch((error: Error) => {
    signal?.throwIfAborted()
    throw new UsageError(`data.source: cannot read folder ${entry}: ${error.message}`)
  })
  if (files.length > 0) return { files: sorted(files), skipped: skipped.sort(byName) }
  const others = skipped.length > 0 ? `: ${skippedText(skipped)}` : ' (hidden ones are left out)'
  throw new UsageError(`data.source: folder ${entry} has no files to read${others}`)
}

async function matchesOf(entry: string, signal: AbortSignal | undefined): Promise<Resolved> {
  // On Windows paths have backslashes, which a glob treats as escapes.
  const pattern = sep === '\\' ? entry.replaceAll('\\', '/') : entry
  const found = await filesOfGlob(pattern, signal)
  if (found.length === 0) throw new MissingText(`data.source: no file matches ${entry} (looked from ${process.cwd()})`)
  const files = found.map((path) => ({ path, name: relative(process.cwd(), path).split(sep).join('/') }))
  return { files: sorted(files), skipped: [] }
}

const sorted = (files: readonly FolderFile[]): InputFile[] =>
  files.map(({ path, name }) => ({ ...sourceFile(name, 'found'), path })).sort(byName)

function pathInRun(entry: string, directory: string | undefined): string {
  if (directory === undefined)
    throw new UsageError(
      `data.source: ${entry} is in the directory of the run that it belongs to (resume, evaluate or watch that run)`,
    )
  return resolve(directory, ...runTextPath(entry).split('/'))
}

async function suggestion(entry: string): Promise<string> {
  const corpus = nearestName(entry, corpusNames)
  const siblings = await readdir(dirname(resolve(entry))).catch(() => [])
  const sibling = nearestName(basename(entry), siblings)
  const near = corpus ?? (sibling === undefined ? undefined : join(dirname(entry), sibling))
  return near === undefined ? ` (corpora: ${corpusNames.join(', ')})` : ` (did you mean "${near}"?)`
}

/** Number of bytes at the start of standard input that determine whether it is JSONL. */
const HEAD_BYTES = 4096

/** Saves standard input to a file. Its first bytes determine its format: text that starts with `{"` is JSONL. */
async function spool(
  stdin: Readable,
  scratch: string,
  onProgress: (message: string) => void,
  signal: AbortSignal | undefined,
): Promise<InputFile> {
  const path = join(scratch, 'standard-input')
  const progress = new Progress('reading standard input', undefined, onProgress, 'bytes')
  const counting = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      progress.add(chunk.length)
      yield chunk
    }
  }
  await pipeline(stdin, counting, createWriteStream(path), { signal })
  const handle = await open(path)
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0)
  await handle.close()
  const start = buffer.subarray(0, bytesRead)
  const gzip = start[0] === 0x1f && start[1] === 0x8b
  const input: InputFile = { path, name: 'standard input', format: 'text', gzip, origin: 'named' }
  if (start.toString('latin1') === 'PAR1') return { ...input, format: 'parquet' }
  for await (const chunk of byteChunks(input)) {
    // Text of any encoding may begin with a byte order mark. In UTF-16, NUL bytes stand between ASCII characters.
    const isJson = /^[\s\0\xef\xbb\xbf\xff\xfe]*\{[\s\0]*"/.test(Buffer.from(chunk).toString('latin1', 0, HEAD_BYTES))
    return { ...input, format: isJson ? 'jsonl' : 'text' }
  }
  return input
}
