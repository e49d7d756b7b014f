/**
 * The streams of a data set in files: token ids of 16 bits each, or 32 bits if the vocabulary needs them. Any range can
 * be read without loading the rest. Node has no memory mapping; reading a window at an offset from the page cache takes
 * a few microseconds.
 */
import { closeSync, fstatSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { RunError } from '../../../core/errors.ts'
import {
  arrayOf,
  documentsFile,
  expectInside,
  type LineWriter,
  type NumberList,
  type StreamName,
  type StreamStorage,
  type TokenReader,
  type TokenWriter,
  type Width,
} from '../../../train/data/streams/storage.ts'

/** Number of ids that are collected before they are written. */
const BUFFERED_IDS = 1 << 16

/** @param scratch Folder for temporary files. @param folder Folder for the result. */
export const diskStorage = (scratch: string, folder: string): StreamStorage => {
  const pathOf = (name: StreamName): string => join(name === 'unordered' ? scratch : folder, `${name}.bin`)
  return {
    createTokens: (name, width) => new TokenFileWriter(pathOf(name), width),
    openTokens: (name, width) => new TokenFileReader(pathOf(name), width),
    removeTokens: (name) => rmSync(pathOf(name), { force: true }),
    createNumbers: () => new NumberFile(join(scratch, 'starts.bin')),
    createDocuments: () => new LineFile(join(folder, documentsFile)),
  }
}

class TokenFileWriter implements TokenWriter {
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

function writeAll(file: number, bytes: Uint8Array): void {
  for (let from = 0; from < bytes.length; ) from += writeSync(file, bytes, from, bytes.length - from)
}

class TokenFileReader implements TokenReader {
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
    expectInside(this, offset, into.length)
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

/** Float64 numbers in a file: first appended, then read as pairs of neighbours. */
class NumberFile implements NumberList {
  private readonly file: number
  private readonly buffer = new Float64Array(4096)
  private readonly pairBuffer = new Float64Array(2)
  private filled = 0

  constructor(path: string) {
    this.file = openSync(path, 'w+')
  }

  push(value: number): void {
    this.buffer[this.filled++] = value
    if (this.filled === this.buffer.length) this.flush()
  }

  flush(): void {
    writeAll(this.file, new Uint8Array(this.buffer.buffer, 0, this.filled * 8))
    this.filled = 0
  }

  pair(index: number): readonly [number, number] {
    if (readSync(this.file, new Uint8Array(this.pairBuffer.buffer), 0, 16, index * 8) !== 16)
      throw new Error(`internal: document ${index} is not in the index`)
    return [this.pairBuffer[0] as number, this.pairBuffer[1] as number]
  }

  close(): void {
    closeSync(this.file)
  }
}

class LineFile implements LineWriter {
  private readonly file: number
  private held = ''

  constructor(path: string) {
    this.file = openSync(path, 'w')
  }

  write(line: string): void {
    this.held += `${line}\n`
    if (this.held.length > 1 << 16) this.flush()
  }

  close(): void {
    try {
      this.flush()
    } finally {
      closeSync(this.file)
    }
  }

  private flush(): void {
    writeAll(this.file, Buffer.from(this.held))
    this.held = ''
  }
}
