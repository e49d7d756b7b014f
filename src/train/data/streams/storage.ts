/** The storage in which the streams of a dataset are written and read: files, or memory. */

/** Number of bytes per id. */
export type Width = 2 | 4

export const widthFor = (vocabulary: number): Width => (vocabulary <= 0x10000 ? 2 : 4)

export const arrayOf = { 2: Uint16Array, 4: Uint32Array } as const

/** `unordered` holds the training documents in the order of the source, until they are put in a seeded order. */
export type StreamName = 'train' | 'held-out' | 'unordered'

/** File with one line per held-out document: name, start, length, metadata. */
export const documentsFile = 'held-out-documents.jsonl'

export interface TokenWriter {
  /** Number of ids written so far. */
  readonly length: number
  write(ids: Int32Array): void
  close(): void
}

export interface TokenReader {
  readonly length: number
  /** Fills `into` with the ids from `offset` on; all must exist. */
  read(offset: number, into: Int32Array): void
  close(): void
}

/** Numbers that are first appended, then read as pairs of neighbours. */
export interface NumberList {
  push(value: number): void
  /** Ends appending. */
  flush(): void
  pair(index: number): readonly [number, number]
  close(): void
}

export interface LineWriter {
  write(line: string): void
  close(): void
}

export interface StreamStorage {
  createTokens(name: StreamName, width: Width): TokenWriter
  openTokens(name: StreamName, width: Width): TokenReader
  removeTokens(name: StreamName): void
  createNumbers(): NumberList
  /** Creates the writer of the lines of {@link documentsFile}. */
  createDocuments(): LineWriter
}

/** @throws Error if a reader does not have ids `offset` to `offset + count` */
export function expectInside({ length }: { readonly length: number }, offset: number, count: number): void {
  if (offset < 0 || offset + count > length)
    throw new Error(`internal: tokens ${offset} to ${offset + count} of ${length} were asked for`)
}
