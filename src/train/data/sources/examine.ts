/**
 * Finds out how files are read, from their bytes: which are text, in which encoding, and which hold records. A file
 * that the user named must be what its ending says; a file that was found in a folder is read as text if it holds no
 * records, and skipped if it is not text.
 */
import { encodingName } from '../../../core/config/encodings.ts'
import { UsageError } from '../../../core/errors.ts'
import { type FileText, recordReaders } from './records.ts'
import type { ReadingConfig, SourceFile } from './source-file.ts'
import { type Skipped, skippedText, sourceNotices, Unreadable } from './unreadable.ts'

/** How a file is read. */
export interface Examined<File> {
  readonly name: string
  /** The file with the format and encoding in which it is read; undefined if it is skipped. */
  readonly file?: File
  /** Why it is skipped, or read as text in place of records. */
  readonly problem?: Unreadable
}

/** Whether the way in which a file is read depends on its bytes. */
export const isExamined = ({ origin }: SourceFile, { encoding }: ReadingConfig): boolean =>
  origin === 'found' || (origin === 'named' && encodingName(encoding) !== 'utf-8')

/**
 * @param attempt Reads the file as the candidate says, to its end. It throws {@link Unreadable} if that is impossible.
 * @throws UsageError for a file that the user named and that cannot be read
 */
export async function examine<File extends SourceFile>(
  file: File,
  { encoding: label }: ReadingConfig,
  attempt: (candidate: File) => Promise<void>,
): Promise<Examined<File>> {
  const encoding = encodingName(label) ?? label
  let candidate = file
  let asText: Unreadable | undefined
  for (;;)
    try {
      await attempt(candidate)
      return { name: file.name, file: candidate, ...(asText && { problem: asText }) }
    } catch (problem) {
      if (!(problem instanceof Unreadable)) throw problem
      const { reason } = problem
      const isUndecoded = reason === 'encoding' || reason === 'binary'
      if (isUndecoded && encoding !== 'utf-8' && candidate.encoding === undefined) {
        candidate = { ...candidate, encoding }
        continue
      }
      if (file.origin === 'named') throw problem
      if (reason !== 'records' || candidate.format === 'parquet') return { name: file.name, problem }
      asText = problem
      candidate = { ...candidate, format: 'text' }
    }
}

/**
 * Reads the text of a file to its end. JSON that was found in a folder must begin with a record.
 * @throws Unreadable
 */
export async function readThrough(
  file: SourceFile & { readonly format: Exclude<SourceFile['format'], 'parquet'> },
  text: FileText,
  field: string,
): Promise<void> {
  if (file.origin === 'found' && file.format !== 'text') await recordReaders[file.format](file, text, field).next()
  for await (const _ of text.chunks);
}

/**
 * The files that are read, and notices about the others.
 * @param left Entries that were skipped without a look at their bytes.
 * @throws UsageError if nothing can be read, or no file of records has the field
 */
export function chooseFiles<File extends SourceFile>(
  examined: readonly Examined<File>[],
  left: readonly Skipped[],
  config: ReadingConfig,
): { readonly files: File[]; readonly notices: string[] } {
  const files = examined.flatMap(({ file }) => file ?? [])
  const problems = examined.flatMap(({ name, file, problem }) =>
    problem ? [{ name, isRead: file !== undefined, reason: problem.reason, detail: problem.detail, problem }] : [],
  )
  const skipped = [...problems.filter(({ isRead }) => !isRead), ...left]
  const asText = problems.filter(({ isRead }) => isRead)
  // If no file at all is what its ending says, the setting `field` is more likely wrong than every file.
  if (files.length === asText.length) {
    const records = problems.find(({ reason, isRead }) => isRead || reason === 'records')
    if (records) throw records.problem
    throw new UsageError(`data.source: no file can be read as text: ${skippedText(skipped)}`)
  }
  return { files, notices: sourceNotices(files.length, skipped, asText, config) }
}
