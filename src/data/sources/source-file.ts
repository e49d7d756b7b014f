/** A file of documents, wherever its bytes are: what names it, and how it is read. */
export type Format = 'text' | 'jsonl' | 'json' | 'parquet'

export interface SourceFile {
  /** Its name in messages and document names; the same on every machine. */
  readonly name: string
  readonly format: Format
  readonly gzip: boolean
  /** Whether the user named this file itself. If it is empty, that is an error; other empty files are skipped. */
  readonly named: boolean
  /** Field with the text, if not the configured one. */
  readonly field?: string
  /** Whether to keep the other fields of each record as metadata of the document. */
  readonly metadata?: boolean
}

/** Formats by ending. */
export const formats: Readonly<Record<string, Format>> = {
  txt: 'text',
  text: 'text',
  md: 'text',
  markdown: 'text',
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  json: 'json',
  parquet: 'parquet',
}

/** A file read as its ending says, as text if that is unknown. */
export function sourceFile(name: string, named: boolean): SourceFile {
  const parts = name.toLowerCase().split('.')
  const gzip = parts.at(-1) === 'gz'
  return { name, format: formats[parts.at(gzip ? -2 : -1) ?? ''] ?? 'text', gzip, named }
}

/** The order of the files of a folder. */
export const byName = (a: SourceFile, b: SourceFile): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)

/** What the hash of a text has before the bytes of each file. */
export const hashedHeader = (file: SourceFile, field: string, bytes: number): string =>
  JSON.stringify([file.name, file.format, file.gzip, file.field ?? field, bytes])
