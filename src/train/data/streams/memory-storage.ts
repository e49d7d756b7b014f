/** The streams of a data set in memory, for texts that fit into it. */
import {
  arrayOf,
  expectInside,
  type LineWriter,
  type NumberList,
  type StreamName,
  type StreamStorage,
  type TokenReader,
  type TokenWriter,
  type Width,
} from './storage.ts'

export class MemoryStorage implements StreamStorage {
  /** The lines that describe the held-out documents. */
  readonly documents: string[] = []
  private readonly streams = new Map<StreamName, TokenMemory>()

  createTokens(name: StreamName, width: Width): TokenWriter {
    const memory = new TokenMemory(width)
    this.streams.set(name, memory)
    return memory
  }

  openTokens(name: StreamName): TokenReader {
    const memory = this.streams.get(name)
    if (!memory) throw new Error(`internal: there is no stream ${name}`)
    return memory
  }

  removeTokens(name: StreamName): void {
    this.streams.delete(name)
  }

  createNumbers(): NumberList {
    const numbers: number[] = []
    return {
      push: (value) => numbers.push(value),
      flush() {},
      pair: (index) => [numbers[index] as number, numbers[index + 1] as number],
      close() {},
    }
  }

  createDocuments(): LineWriter {
    return { write: (line) => this.documents.push(line), close() {} }
  }
}

/** A growing array of ids. */
class TokenMemory implements TokenWriter, TokenReader {
  length = 0
  private ids: Uint16Array | Uint32Array

  constructor(width: Width) {
    this.ids = new arrayOf[width](1 << 12)
  }

  write(ids: Int32Array): void {
    const length = this.length + ids.length
    if (length > this.ids.length) {
      const larger = new (this.ids.constructor as typeof Uint16Array)(Math.max(length, 2 * this.ids.length))
      larger.set(this.ids.subarray(0, this.length))
      this.ids = larger
    }
    this.ids.set(ids, this.length)
    this.length = length
  }

  read(offset: number, into: Int32Array): void {
    expectInside(this, offset, into.length)
    into.set(this.ids.subarray(offset, offset + into.length))
  }

  close(): void {}
}
