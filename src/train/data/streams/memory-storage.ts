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

export type TokenIds = Uint16Array | Uint32Array

export class MemoryStorage implements StreamStorage {
  /** The lines that describe the held-out documents. */
  readonly documents: string[] = []
  private readonly streams: Map<StreamName, TokenMemory>

  /** @param streams Streams that are already written. */
  constructor(streams: Readonly<Partial<Record<StreamName, TokenIds>>> = {}) {
    this.streams = new Map(
      Object.entries(streams).map(([name, ids]) => [name as StreamName, new TokenMemory(ids, ids.length)]),
    )
  }

  /** A copy of the ids of a stream. */
  idsOf(name: StreamName): TokenIds {
    return this.memoryOf(name).ids()
  }

  createTokens(name: StreamName, width: Width): TokenWriter {
    const memory = new TokenMemory(new arrayOf[width](1 << 12), 0)
    this.streams.set(name, memory)
    return memory
  }

  openTokens(name: StreamName): TokenReader {
    return this.memoryOf(name)
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

  private memoryOf(name: StreamName): TokenMemory {
    const memory = this.streams.get(name)
    if (!memory) throw new Error(`internal: there is no stream ${name}`)
    return memory
  }
}

/** A growing array of ids. */
class TokenMemory implements TokenWriter, TokenReader {
  length: number
  private memory: TokenIds

  /** @param length Number of ids that are written. */
  constructor(memory: TokenIds, length: number) {
    this.memory = memory
    this.length = length
  }

  ids(): TokenIds {
    return this.memory.slice(0, this.length)
  }

  write(ids: Int32Array): void {
    const length = this.length + ids.length
    if (length > this.memory.length) {
      const larger = new (this.memory.constructor as typeof Uint16Array)(Math.max(length, 2 * this.memory.length))
      larger.set(this.memory.subarray(0, this.length))
      this.memory = larger
    }
    this.memory.set(ids, this.length)
    this.length = length
  }

  read(offset: number, into: Int32Array): void {
    expectInside(this, offset, into.length)
    into.set(this.memory.subarray(offset, offset + into.length))
  }

  close(): void {}
}
