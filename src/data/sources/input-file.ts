/** A file of documents, as the readers see it. */
export type Format = 'text' | 'jsonl' | 'json' | 'parquet'

export interface InputFile {
  readonly path: string
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
  /** Set after hashing; a reading fails at its end if the bytes have changed. */
  readonly content?: Content
}

/** Contents of a file when it was hashed (content.ts). */
export interface Content {
  reading(): Reading
}

/** One reading of a file from its first byte to its last. */
export interface Reading {
  /** The next bytes of the file. */
  add(chunk: Uint8Array): void
  /**
   * Reads the bytes of the file that were not added, and compares the hash.
   * @throws UsageError if the file has changed
   */
  end(): Promise<void>
}
