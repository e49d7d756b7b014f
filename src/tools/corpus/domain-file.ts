/** A JSONL file of a corpus, while it is written. */
import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { DomainRecord } from './manifest.ts'

const BUFFERED = 1 << 20

export class DomainFile {
  private documents = 0
  private readonly domain: string
  private readonly path: string
  private readonly hash = createHash('sha256')
  private handle: number | undefined
  private lines: string[] = []
  private length = 0
  private bytes = 0

  constructor(folder: string, domain: string) {
    this.domain = domain
    this.path = join(folder, `${domain}.jsonl`)
    mkdirSync(dirname(this.path), { recursive: true })
    this.handle = openSync(this.path, 'wx')
  }

  /** @param bytes bytes of the document's text */
  write(document: { readonly text: string; readonly name: string; readonly package: string }, bytes: number): void {
    const line = `${JSON.stringify(document)}\n`
    this.lines.push(line)
    this.length += line.length
    this.documents++
    this.bytes += bytes
    if (this.length >= BUFFERED) this.flush()
  }

  close(): DomainRecord {
    this.flush()
    if (this.handle !== undefined) fsyncSync(this.handle)
    this.release()
    const { domain: name, documents, bytes } = this
    return { name, file: `${name}.jsonl`, documents, bytes, sha256: this.hash.digest('hex') }
  }

  /** Closes the file, whole or not. Idempotent. */
  release(): void {
    if (this.handle !== undefined) closeSync(this.handle)
    this.handle = undefined
  }

  private flush(): void {
    const chunk = Buffer.from(this.lines.join(''))
    this.lines = []
    this.length = 0
    this.hash.update(chunk)
    for (let at = 0; at < chunk.length; ) at += writeSync(this.handle as number, chunk, at)
  }
}
