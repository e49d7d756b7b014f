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
import { corpusFiles, corpusNames } from './corpora.ts'
import type { Format, InputFile } from './input-file.ts'
import { textChunks } from './text.ts'

const formats: Readonly<Record<string, Format>> = {
  txt: 'text',
  text: 'text',
  md: 'text',
  markdown: 'text',
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  json: 'json',
  parquet: 'parquet',
}

/** Endings that may be followed by `.gz`. Parquet has compression of its own. */
const gzipped = Object.keys(formats).filter((ending) => ending !== 'parquet')
const inFolders = `**/*.{${[...Object.keys(formats), ...gzipped.map((ending) => `${ending}.gz`)].join(',')}}`

/**
 * @param scratch folder for standard input, which is read once and needed several times
 * @throws UsageError for a name, path or glob that matches nothing
 */
export async function resolveSources(
  source: string | readonly string[],
  scratch: string,
  stdin: Readable = process.stdin,
): Promise<InputFile[]> {
  const files = new Map<string, InputFile>()
  for (const entry of new Set(typeof source === 'string' ? [source] : source)) {
    const found = entry === '-' ? [await spool(stdin, scratch)] : await resolveSource(entry)
    for (const file of found) files.set(file.path, files.get(file.path) ?? file)
  }
  return [...files.values()]
}

/**
 * The file or folder that contains the files of an entry of `data.source`; for a glob, the folder before its first
 * pattern. Undefined for corpora and standard input.
 */
export function sourceFolder(entry: string): string | undefined {
  if (entry === '-' || corpusNames.includes(entry)) return undefined
  const path = resolve(entry)
  if (existsSync(path)) return path
  const [plain = ''] = entry.split(/[*?[\]{}]/, 1)
  return plain === entry ? path : resolve(/[\\/]$/.test(plain) ? plain : dirname(plain))
}

async function resolveSource(entry: string): Promise<InputFile[]> {
  const corpus = await corpusFiles(entry)
  if (corpus) return corpus
  const path = resolve(entry)
  if (existsSync(path)) {
    if (!statSync(path).isDirectory()) return [inputFile(path, basename(path), true)]
    const found = await glob(inFolders, { cwd: path, caseSensitiveMatch: false })
    if (found.length > 0) return sorted(path, found)
    throw new UsageError(
      `data.source: folder ${entry} has no file of a known kind (.${Object.keys(formats).join(', .')}; all but the last also .gz)`,
    )
  }
  if (/[*?[\]{}]/.test(entry)) {
    // On Windows paths have backslashes, which a glob treats as escapes.
    const pattern = sep === '\\' ? entry.replaceAll('\\', '/') : entry
    const found = await glob(pattern, { cwd: process.cwd(), expandDirectories: false, absolute: true })
    if (found.length > 0) return sorted(process.cwd(), found)
    throw new UsageError(`data.source: no file matches ${entry} (looked from ${process.cwd()})`)
  }
  throw new UsageError(`data.source: there is no file, folder or corpus "${entry}"${await suggestion(entry)}`)
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
      return inputFile(path, relative(root, path).split(sep).join('/'), false)
    })
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
}

function inputFile(path: string, name: string, named: boolean): InputFile {
  const parts = name.toLowerCase().split('.')
  const gzip = parts.at(-1) === 'gz'
  return { path, name, format: formats[parts.at(gzip ? -2 : -1) ?? ''] ?? 'text', gzip, named }
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
