/**
 * Token ids on disk, 16 bits each or 32 bits if the vocabulary needs them. Any range can be read without
 * loading the rest. Node has no memory mapping; reading a window at an offset from the page cache takes a
 * few microseconds.
 */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { RunError } from '../../errors.ts'

/** Bytes per id. */
export type Width = 2 | 4

export const widthFor = (vocabulary: number): Width => (vocabulary <= 0x10000 ? 2 : 4)

const arrayOf = { 2: Uint16Array, 4: Uint32Array } as const

/** Ids buffered by a write or a copy. */
const BUFFERED_IDS = 1 << 16

export class TokenWriter {
  private readonly file: number
  private readonly buffer: Uint16Array | Uint32Array
  private filled = 0
  private written = 0

  constructor(path: string, width: Width) {
    this.file = openSync(path, 'w')
    this.buffer = new arrayOf[width](BUFFERED_IDS)
  }

  /** Number of ids written so far. */
  get length(): number {
    return this.written
  }

  write(ids: Int32Array): void {
    this.written += ids.length
    for (let from = 0; from < ids.length; ) {
      const part = ids.subarray(from, from + this.buffer.length - this.filled)
      this.buffer.set(part, this.filled)
      this.filled += part.length
      from += part.length
      if (this.filled === this.buffer.length) this.flush()
    }
  }

  close(): void {
    try {
      this.flush()
    } finally {
      closeSync(this.file)
    }
  }

  private flush(): void {
    const { buffer, BYTES_PER_ELEMENT } = this.buffer
    writeAll(this.file, new Uint8Array(buffer, 0, this.filled * BYTES_PER_ELEMENT))
    this.filled = 0
  }
}

export function writeAll(file: number, bytes: Uint8Array): void {
  for (let from = 0; from < bytes.length; ) from += writeSync(file, bytes, from, bytes.length - from)
}

export class TokenReader {
  readonly length: number
  private readonly file: number
  private readonly path: string
  private readonly width: Width
  private buffer: Uint16Array | Uint32Array

  constructor(path: string, width: Width) {
    this.path = path
    this.width = width
    this.file = openSync(path, 'r')
    this.length = fstatSync(this.file).size / width
    this.buffer = new arrayOf[width](1024)
  }

  /** Fills `into` with the ids from `offset` on; all must exist. */
  read(offset: number, into: Int32Array): void {
    if (offset < 0 || offset + into.length > this.length)
      throw new Error(`internal: tokens ${offset} to ${offset + into.length} of ${this.length} were asked for`)
    if (this.buffer.length < into.length) this.buffer = new arrayOf[this.width](into.length)
    const bytes = new Uint8Array(this.buffer.buffer, 0, into.length * this.width)
    for (let from = 0; from < bytes.length; ) {
      const read = readSync(this.file, bytes, from, bytes.length - from, offset * this.width + from)
      if (read === 0) throw new RunError(`${this.path} was truncated while in use; start again to rebuild it`)
      from += read
    }
    into.set(this.buffer.subarray(0, into.length))
  }

  close(): void {
    closeSync(this.file)
  }
}

/** The ids of `reader` from `offset` on, in parts of bounded size. */
export function* readParts(reader: TokenReader, offset: number, length: number): Generator<Int32Array> {
  const part = new Int32Array(Math.min(length, BUFFERED_IDS))
  for (let from = 0; from < length; from += part.length) {
    const next = part.subarray(0, length - from)
    reader.read(offset + from, next)
    yield next
  }
}
