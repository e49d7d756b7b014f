/** A file that holds documents, as the readers see it. */
export type Format = 'text' | 'jsonl' | 'json' | 'parquet'

export interface InputFile {
  readonly path: string
  /** How messages and documents call it; the same on every machine. */
  readonly name: string
  readonly format: Format
  readonly gzip: boolean
  /** The user named this very file: an empty one is an error, not something to pass over. */
  readonly named: boolean
  /** Field that holds the text, where it is not the configured one. */
  readonly field?: string
  /** Keep the other fields of each record as the document's metadata. */
  readonly metadata?: boolean
  /** The bytes that it had when it was hashed: a reading of others fails at its end. */
  readonly content?: Content
}

/** A file as it was when it was hashed (content.ts). */
export interface Content {
  reading(): Reading
}

/** One reading of a file from its first byte to its last. */
export interface Reading {
  /** The next bytes of the file. */
  add(chunk: Uint8Array): void
  /**
   * Reads on from where the reading stopped, from the first byte if it added none, and compares.
   * @throws UsageError when the file has changed
   */
  end(): Promise<void>
}
