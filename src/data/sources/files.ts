/**
 * Resolves `data.source` (corpora by name, paths, folders, globs, standard input) to a list of files, in
 * an order that does not depend on the machine.
 */
import { createWriteStream, existsSync, statSync } from 'node:fs'
import { open, readdir } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { glob } from 'tinyglobby'
import { UsageError } from '../../errors.ts'
import { nearestName } from '../../text/nearest.ts'
import { corpusFiles } from './corpora.ts'
import { corpusNames } from './corpus.ts'
import type { InputFile } from './input-file.ts'
import { isRunText, runTextPath } from './run-text.ts'
import { byName, formats, sourceFile } from './source-file.ts'
import { textChunks } from './text.ts'

/** Endings that may be followed by `.gz`. Parquet has compression of its own. */
const gzipped = Object.keys(formats).filter((ending) => ending !== 'parquet')
const inFolders = `**/*.{${[...Object.keys(formats), ...gzipped.map((ending) => `${ending}.gz`)].join(',')}}`

export interface Places {
  /** Folder for standard input, which is read once and needed several times. */
  readonly scratch: string
  /** The run directory, for entries that begin with `run:`. */
  readonly directory?: string | undefined
  readonly stdin?: Readable | undefined
}

/** @throws UsageError for a name, path or glob that matches nothing */
export async function resolveSources(
  source: string | readonly string[],
  { scratch, directory, stdin = process.stdin }: Places,
): Promise<InputFile[]> {
  const files = new Map<string, InputFile>()
  for (const entry of new Set(typeof source === 'string' ? [source] : source)) {
    const found = entry === '-' ? [await spool(stdin, scratch)] : await resolveSource(entry, directory)
    for (const file of found) files.set(file.path, files.get(file.path) ?? file)
  }
  return [...files.values()]
}

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

async function resolveSource(entry: string, directory: string | undefined): Promise<InputFile[]> {
  const corpus = await corpusFiles(entry)
  if (corpus) return corpus
  const path = isRunText(entry) ? pathInRun(entry, directory) : resolve(entry)
  if (existsSync(path)) {
    if (!statSync(path).isDirectory()) return [{ ...sourceFile(basename(path), true), path }]
    const found = await glob(inFolders, { cwd: path, caseSensitiveMatch: false })
    if (found.length > 0) return sorted(path, found)
    throw new UsageError(
      `data.source: folder ${entry} has no file of a known kind (.${Object.keys(formats).join(', .')}; all but the last also .gz)`,
    )
  }
  if (isRunText(entry)) throw new UsageError(`data.source: there is no ${runTextPath(entry)} in ${directory}`)
  if (/[*?[\]{}]/.test(entry)) {
    // On Windows paths have backslashes, which a glob treats as escapes.
    const pattern = sep === '\\' ? entry.replaceAll('\\', '/') : entry
    const found = await glob(pattern, { cwd: process.cwd(), expandDirectories: false, absolute: true })
    if (found.length > 0) return sorted(process.cwd(), found)
    throw new UsageError(`data.source: no file matches ${entry} (looked from ${process.cwd()})`)
  }
  throw new UsageError(`data.source: there is no file, folder or corpus "${entry}"${await suggestion(entry)}`)
}

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

function sorted(root: string, paths: readonly string[]): InputFile[] {
  return paths
    .map((found) => {
      const path = resolve(root, found)
      return { ...sourceFile(relative(root, path).split(sep).join('/'), false), path }
    })
    .sort(byName)
}

/** Saves standard input to a file. Its first bytes determine its format: text that starts with `{"` is JSONL. */
async function spool(stdin: Readable, scratch: string): Promise<InputFile> {
  const path = join(scratch, 'standard-input')
  await pipeline(stdin, createWriteStream(path))
  const handle = await open(path)
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0)
  await handle.close()
  const start = buffer.subarray(0, bytesRead)
  const gzip = start[0] === 0x1f && start[1] === 0x8b
  const input: InputFile = { path, name: 'standard input', format: 'text', gzip, named: true }
  if (start.toString('latin1') === 'PAR1') return { ...input, format: 'parquet' }
  for await (const chunk of textChunks(input)) return { ...input, format: /^\s*\{\s*"/.test(chunk) ? 'jsonl' : 'text' }
  return input
}
