/** Decides which documents a corpus keeps, writes them to the files of their domains, and counts what is left out. */
import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Document } from './documents.ts'
import type { DomainRecord, PackageRecord } from './manifest.ts'
import type { Package } from './packages.ts'
import type { Part } from './recipe.ts'
import { Repeats } from './repeats.ts'

/** Documents with fewer characters are left out, since they are titles, redirections or lists of links. */
const MIN_DOCUMENT = 200

/** Paragraphs of at least this length are left out if many documents have them. Code repeats more than prose. */
const MIN_REPEATED = { code: 160, prose: 80 }

/** Characters of lines that are written at once. */
const BUFFERED = 1 << 20

export class CorpusWriter {
  documents = 0
  /** Bytes of the text in UTF-8. */
  bytes = 0
  private readonly folder: string
  private readonly repeats = new Repeats()
  private readonly files = new Map<string, DomainFile>()
  private readonly records = new Map<string, PackageRecord>()
  private readonly hash = createHash('sha256')

  /** @param folder an empty folder */
  constructor(folder: string) {
    this.folder = folder
  }

  /** The counts of a package, which begin at 0. */
  record({ name, version, licences }: Package): PackageRecord {
    const record = this.records.get(name) ?? {
      name,
      version,
      licences,
      documents: 0,
      bytes: { files: 0, cleaned: 0, kept: 0, repeated: 0 },
      dropped: { short: 0, duplicate: 0, copied: 0, binary: 0, encoding: 0, damaged: 0 },
    }
    this.records.set(name, record)
    return record
  }

  add({ domain, isCode }: Part, record: PackageRecord, { name: path, text }: Document): void {
    if (typeof text !== 'string') {
      record.dropped[text.problem]++
      return
    }
    const cleaned = Buffer.byteLength(text)
    record.bytes.cleaned += cleaned
    if (text.length < MIN_DOCUMENT) {
      record.dropped.short++
      return
    }
    const distinct = this.repeats.distinct(text, MIN_REPEATED[isCode ? 'code' : 'prose'])
    if (distinct.text === undefined) {
      record.dropped[distinct.reason]++
      return
    }
    const kept = distinct.isCut ? `${distinct.text.replace(/\n{3,}/g, '\n\n').trim()}\n` : distinct.text
    if (kept.length < MIN_DOCUMENT) {
      record.dropped.short++
      return
    }
    const bytes = Buffer.byteLength(kept)
    const name = `${record.name}/${path.replace(/^usr\/share\/(doc\/)?/, '')}`
    this.file(domain).write({ text: kept, name, package: record.name }, bytes)
    this.hash.update(kept).update('\0')
    record.documents++
    record.bytes.kept += bytes
    record.bytes.repeated += cleaned - bytes
    this.documents++
    this.bytes += bytes
  }

  /** Completes the files. */
  finish(): { sha256: string; domains: DomainRecord[]; packages: PackageRecord[] } {
    const domains = [...this.files.values()].map((file) => file.close())
    return { sha256: this.hash.digest('hex'), domains, packages: [...this.records.values()] }
  }

  /** Closes the files, whole or not. */
  release(): void {
    for (const file of this.files.values()) file.release()
  }

  private file(domain: string): DomainFile {
    const file = this.files.get(domain) ?? new DomainFile(this.folder, domain)
    this.files.set(domain, file)
    return file
  }
}

/** A JSONL file of a corpus, while it is written. */
class DomainFile {
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
