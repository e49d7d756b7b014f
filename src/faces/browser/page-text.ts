/**
 * Text that a page gives for training. A run that continues in Node must find it again under `data.source`: a corpus
 * under its name, any other text in the run directory, which includes it (`run:text/...`).
 */

import { isFields } from '../../core/config/fields.ts'
import { formatValue } from '../../core/config/problems.ts'
import { UsageError } from '../../core/errors.ts'
import type { MemoryFile } from '../../train/data/memory-dataset.ts'
import { corpusDocuments, corpusNames } from '../../train/data/sources/corpus.ts'
import { isRunText, runTextEntry, runTextPath } from '../../train/data/sources/run-text.ts'
import { byName, isContributed, sourceFile } from '../../train/data/sources/source-file.ts'
import { bytesOf, type RunFiles } from './run-files.ts'

export interface TextFile {
  /** The ending decides how the file is read: .json and .jsonl hold records, any other file is one document. */
  readonly name: string
  readonly content: string | Uint8Array
}

/**
 * One text, a folder of files, or a corpus of Choir. For a corpus, `name` is its name, such as `sotu`, and `documents`
 * are the files in the folder `data` of its npm package; files there that are no documents are left out. In a folder,
 * a name with `/` is a file in a subfolder; hidden files and folders are left out, and so are files that are not text.
 */
export type PageText = TextFile | { readonly name: string; readonly documents: readonly TextFile[] }

/** A text as its `data.source` and the files that it is read from. */
export interface PlacedText {
  readonly source: string
  readonly files: readonly MemoryFile[]
  /** Files of the text in the run directory, by path; empty for a corpus. */
  readonly inRun: RunFiles
}

const FOLDER = 'text'

const isTextFile = (value: unknown): value is TextFile =>
  isFields(value) &&
  typeof value.name === 'string' &&
  (typeof value.content === 'string' || value.content instanceof Uint8Array)

/** Pages may be written without types. @throws UsageError with what is accepted */
function expectPageText(text: unknown): asserts text is PageText {
  if (isFields(text) && Array.isArray(text.documents)) {
    const wrong = text.documents.findIndex((file) => !isTextFile(file))
    if (typeof text.name === 'string' && wrong === -1) return
    if (wrong !== -1)
      throw new UsageError(
        `invalid text.documents[${wrong}]: ${formatValue(text.documents[wrong])} (expected { name, content })`,
      )
  }
  if (!isTextFile(text) || 'documents' in text)
    throw new UsageError(
      `invalid text: ${formatValue(text)} (expected { name, content }, where the content is a string or a Uint8Array, ` +
        'or { name, documents } with a list of those)',
    )
}

/** Places a text. @throws UsageError for what is no text, a name that no file can have, or a corpus without documents */
export function placeText(text: PageText): PlacedText {
  expectPageText(text)
  const documents = 'documents' in text ? text.documents : null
  if (documents && corpusNames.includes(text.name)) return placeCorpus(text.name, documents)
  const given = documents ?? [text as TextFile]
  const inRun = new Map(given.map(({ name, content }) => [`${FOLDER}/${checkedName(name)}`, bytesIn(content)]))
  const source = runTextEntry(documents ? FOLDER : `${FOLDER}/${text.name}`)
  return { source, ...filesIn(inRun, source) }
}

function placeCorpus(name: string, documents: readonly TextFile[]): PlacedText {
  const contents = new Map(documents.map((file) => [file.name, file.content]))
  const files = corpusDocuments(name, [...contents.keys()]).map(({ file, source }) => ({
    ...source,
    bytes: bytesIn(contents.get(file) as string | Uint8Array),
  }))
  if (files.length === 0)
    throw new UsageError(`invalid text: no document of the corpus "${name}" (expected the files of its npm package)`)
  return { source: name, files, inRun: new Map() }
}

/**
 * The text that a run directory holds; null if its source is elsewhere.
 * @throws UsageError if a file of the text is missing
 */
export function runText(run: RunFiles, source: string | readonly string[]): Omit<PlacedText, 'source'> | null {
  const entries = typeof source === 'string' ? [source] : source
  if (!entries.every(isRunText)) return null
  const found = entries.map((entry) => filesIn(run, entry))
  return { files: found.flatMap(({ files }) => files), inRun: new Map(found.flatMap(({ inRun }) => [...inRun])) }
}

/** The files of an entry, as a run directory on a disk gives them. */
function filesIn(run: RunFiles, entry: string): Omit<PlacedText, 'source'> {
  const path = runTextPath(entry)
  const bytes = run.get(path)
  if (bytes) {
    const file = { ...sourceFile(path.slice(path.lastIndexOf('/') + 1), 'named'), bytes }
    return { files: [file], inRun: new Map([[path, bytes]]) }
  }
  const below = (name: string): string => name.slice(path.length + 1)
  const inRun = new Map([...run].filter(([name]) => name.startsWith(`${path}/`) && isContributed(below(name))))
  if (inRun.size === 0) throw new UsageError(`data.source: there is no ${path} in this run`)
  const files = [...inRun].map(([name, content]) => ({ ...sourceFile(below(name), 'found'), bytes: content }))
  return { files: files.sort(byName), inRun }
}

function checkedName(name: string): string {
  runTextPath(runTextEntry(name))
  // The name must be possible on every file system.
  if (/[\0<>"|?*]/.test(name))
    throw new UsageError(`invalid name of a text: ${JSON.stringify(name)} (expected a file name)`)
  return name
}

const bytesIn = (content: string | Uint8Array): Uint8Array => (typeof content === 'string' ? bytesOf(content) : content)
