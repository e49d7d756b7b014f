/** A file of documents on the disk, as the readers see it. */
import type { SourceFile } from '../../../train/data/sources/source-file.ts'
import type { Skipped } from '../../../train/data/sources/unreadable.ts'

export interface InputFile extends SourceFile {
  readonly path: string
  /** Set after hashing; a reading fails at its end if the bytes have changed. */
  readonly content?: Content
}

/** The files of a source, and entries of its folders that are not read whatever they contain. */
export interface Resolved {
  readonly files: readonly InputFile[]
  readonly skipped: readonly Skipped[]
}

/** Contents of a file when it was hashed (content.ts). */
export interface Content {
  reading(): Reading
}

/** One reading of a file from its first byte to its last. */
export interface Reading {
  /** Adds the next bytes of the file to the hash. */
  add(chunk: Uint8Array): void
  /**
   * Reads the bytes of the file that were not added, and compares the hash.
   * @throws UsageError if the file has changed
   */
  end(): Promise<void>
}
