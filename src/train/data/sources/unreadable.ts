/** Files that cannot be read as they are given: the error, and the notices about skipped files. */
import { UsageError } from '../../../core/errors.ts'
import { grouped } from '../../../core/text/numbers.ts'
import type { ReadingConfig } from './source-file.ts'

/** Why an entry of a folder is skipped, in the words of the notice. */
const reasons = {
  encoding: 'not UTF-8',
  binary: 'binary',
  /** The file is JSON or Parquet, but without the field. */
  records: 'without the field',
  damaged: 'damaged',
  access: 'not readable',
  special: 'not a file',
  loop: 'a link to a folder around it',
  packages: 'a folder of packages',
}
type Reason = keyof typeof reasons

/** An entry of a folder that is not read. */
export interface Skipped {
  readonly name: string
  readonly reason: Reason
  /** A short explanation, such as the first invalid byte. */
  readonly detail?: string
}

/** A file that cannot be read as its ending says. */
export class Unreadable extends UsageError {
  readonly reason: Reason
  readonly detail: string

  constructor(reason: Reason, detail: string, message: string) {
    super(message)
    this.reason = reason
    this.detail = detail
  }
}

/** Number of names shown for each reason. */
const MAX_NAMES = 3
const MAX_DETAIL = 60

/**
 * Notices about files that are skipped, and about JSON that is read as text.
 * @param read Number of files that are read.
 */
export function sourceNotices(
  read: number,
  skipped: readonly Skipped[],
  asText: readonly Skipped[],
  { field, encoding }: ReadingConfig,
): string[] {
  const notices: string[] = []
  const has = (reason: Reason) => skipped.some((entry) => entry.reason === reason)
  if (skipped.length > 0) {
    const advice = [
      ...(has('encoding') && encoding === 'utf-8'
        ? ['To read text in another encoding, set data.encoding, such as latin1']
        : []),
      ...(has('records') ? ['Set data.field to the column that holds the text'] : []),
    ]
    const counts = `${grouped(read)} ${read === 1 ? 'file is' : 'files are'} read, ${grouped(skipped.length)} skipped`
    notices.push(`data.source: ${counts}: ${[skippedText(skipped), ...advice].join('. ')}`)
  }
  if (asText.length > 0) {
    const files = asText.length === 1 ? '1 JSON file is' : `${grouped(asText.length)} JSON files are`
    notices.push(
      `data.source: ${files} read as plain text, without records that have the field "${field}" (${named(asText)}). ` +
        'Set data.field if the text is in another field',
    )
  }
  return notices
}

/** Text such as `2 binary (a.png, b.png), 1 not UTF-8 (old.txt: byte 0xe9 at offset 7)`. */
export function skippedText(skipped: readonly Skipped[]): string {
  const kinds = Object.entries(reasons).map(([reason, words]) => {
    const entries = skipped.filter((entry) => entry.reason === reason)
    return entries.length === 0 ? [] : [`${grouped(entries.length)} ${words} (${named(entries)})`]
  })
  return kinds.flat().join(', ')
}

function named(entries: readonly Skipped[]): string {
  const shown = entries.slice(0, MAX_NAMES).map(({ name, detail }) => (detail ? `${name}: ${shortened(detail)}` : name))
  const more = entries.length - shown.length
  const separator = entries.some(({ detail }) => detail) ? '; ' : ', '
  return `${shown.join(separator)}${more > 0 ? ` and ${grouped(more)} more` : ''}`
}

const shortened = (text: string): string => (text.length > MAX_DETAIL ? `${text.slice(0, MAX_DETAIL - 3)}...` : text)
