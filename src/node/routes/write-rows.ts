/**
 * Writes the rows of a record, token by token, with bounded memory: lines of JSON in pieces of a megabyte, or row groups
 * of a Parquet file.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { fileWriter, ParquetWriter } from 'hyparquet-writer'
import type { RowFormat } from './files.ts'
import type { RecordedRouter, RoutedToken } from './format.ts'
import { routeColumns, routeSchema } from './parquet-schema.ts'

export interface RowWriter {
  /** Takes a token. Await the result before the next one. */
  add(token: RoutedToken): Promise<void>
  /** Writes the rest and closes the file. */
  end(): Promise<void>
  /** Closes the file as it is. */
  abandon(): Promise<void>
}

export function openRowWriter(path: string, format: RowFormat, routers: readonly RecordedRouter[]): Promise<RowWriter> {
  return format === 'jsonl' ? JsonLinesWriter.open(path, routers) : Promise.resolve(new ParquetRows(path, routers))
}

/** Characters that are collected before they are written. */
const PIECE = 1 << 20

class JsonLinesWriter implements RowWriter {
  private readonly handle: FileHandle
  /** The fields of each router that are the same in all of its rows. */
  private readonly names: readonly string[]
  private readonly texts = new Map<number, string>()
  private pending = ''

  private constructor(handle: FileHandle, names: readonly string[]) {
    this.handle = handle
    this.names = names
  }

  static async open(path: string, routers: readonly RecordedRouter[]): Promise<JsonLinesWriter> {
    const names = routers.map(({ layer, module }) => `"layer":${layer},"module":${JSON.stringify(module)}`)
    return new JsonLinesWriter(await open(path, 'wx'), names)
  }

  async add({ document, position, token, text, routes }: RoutedToken): Promise<void> {
    const quoted = this.texts.get(token) ?? JSON.stringify(text)
    this.texts.set(token, quoted)
    const place = `{"document":${document},"position":${position},"token":${token},"text":${quoted},`
    for (const [i, { experts, gates, entropy, dropped }] of routes.entries())
      this.pending +=
        `${place}${this.names[i]},"experts":[${experts.join()}],"gates":[${gates.map(exact).join()}],` +
        `"entropy":${entropy === null ? 'null' : exact(entropy)},"dropped":[${dropped.join()}]}\n`
    if (this.pending.length > PIECE) await this.drain()
  }

  async end(): Promise<void> {
    await this.drain()
    await this.handle.sync()
    await this.handle.close()
  }

  abandon(): Promise<void> {
    return this.handle.close()
  }

  private async drain(): Promise<void> {
    const text = this.pending
    this.pending = ''
    await this.handle.writeFile(text)
  }
}

/** A float32 number in the fewest digits that always give it back (nine). */
const exact = (value: number): string => String(Number(value.toPrecision(9)))

/** Rows of a row group. */
const GROUP_ROWS = 1 << 16

class ParquetRows implements RowWriter {
  private readonly routers: readonly RecordedRouter[]
  private readonly writer: ParquetWriter
  private tokens: RoutedToken[] = []

  constructor(path: string, routers: readonly RecordedRouter[]) {
    this.routers = routers
    this.writer = new ParquetWriter({ writer: fileWriter(path), schema: [...routeSchema] })
  }

  async add(token: RoutedToken): Promise<void> {
    this.tokens.push(token)
    if ((this.tokens.length + 1) * this.routers.length > GROUP_ROWS) await this.drain()
  }

  async end(): Promise<void> {
    await this.drain()
    await this.writer.finish()
  }

  async abandon(): Promise<void> {}

  private async drain(): Promise<void> {
    const columnData = routeColumns(this.tokens, this.routers)
    this.tokens = []
    // An empty group would have no columns to write.
    if (columnData[0]?.data.length) await this.writer.write({ columnData, rowGroupSize: GROUP_ROWS })
  }
}
