/** A file of documents, wherever its bytes are: its name, and how it is read. */
import type { DataConfig } from '../../../core/config/data-config.ts'

export type Format = 'text' | 'jsonl' | 'json' | 'parquet'

/**
 * Where a file comes from. `named`: the user named the file itself; any problem with it is an error. `found`: it was
 * found in a folder or by a glob; it is skipped if it is empty or not text. `corpus`: it is part of an installed
 * corpus.
 */
export type Origin = 'named' | 'found' | 'corpus'

export interface SourceFile {
  /** Name of the file in messages and document names; the same on every machine. */
  readonly name: string
  readonly format: Format
  readonly gzip: boolean
  readonly origin: Origin
  /** Encoding of the text, if not UTF-8. */
  readonly encoding?: string
  /** Field with the text, if not the configured one. */
  readonly field?: string
  /** Whether to keep the other fields of each record as metadata of the document. */
  readonly metadata?: boolean
}

/** Settings that determine how files are read. */
export type ReadingConfig = Pick<DataConfig, 'field' | 'encoding'>

/** Formats by ending; a file with any other ending, or without an ending, is text. */
const formats: Readonly<Record<string, Format>> = {
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  json: 'json',
  parquet: 'parquet',
}

/** The file `name`, with the format that its ending says. */
export function sourceFile(name: string, origin: Origin): SourceFile {
  const parts = name.toLowerCase().split('.')
  const gzip = parts.at(-1) === 'gz'
  const ending = parts.at(gzip ? -2 : -1) ?? ''
  return { name, format: Object.hasOwn(formats, ending) ? (formats[ending] as Format) : 'text', gzip, origin }
}

/** Whether a file or folder is hidden; the documents of a folder exclude hidden ones. */
export const isHidden = (name: string): boolean => name.startsWith('.')

/** Whether a folder holds installed packages; the documents of a folder exclude these too. */
export const isPackages = (name: string): boolean => name === 'node_modules'

/** Whether a folder contributes the file at this path in it, separated by `/`. */
export function isContributed(path: string): boolean {
  const names = path.split('/')
  return !names.some(isHidden) && !names.slice(0, -1).some(isPackages)
}

/** Compares files by name, which is their order in a folder. */
export const byName = (a: Pick<SourceFile, 'name'>, b: Pick<SourceFile, 'name'>): number =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : 0

/** The text that is hashed before the bytes of each file. */
export const hashedHeader = (file: SourceFile, field: string, bytes: number): string =>
  JSON.stringify([
    ...[file.name, file.format, file.gzip, file.field ?? field, bytes],
    ...(file.encoding === undefined ? [] : [file.encoding]),
  ])
