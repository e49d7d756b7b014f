/** Builds a corpus in a folder: documents of packages, cleaned, without repetitions, one JSONL file for each domain. */
import { createHash, type Hash } from 'node:crypto'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { RunError } from '../errors.ts'
import { nextTurn } from '../system/next-turn.ts'
import { fileDocuments } from './documents.ts'
import { DomainFile } from './domain-file.ts'
import {
  copyrightFolder,
  type DropReason,
  type Manifest,
  manifestFile,
  type PackageRecord,
  summaryFile,
  summaryText,
} from './manifest.ts'
import { filesBelow, type Package, type PackageFile } from './packages.ts'
import { unpackArchive } from './programs.ts'
import type { Part, Recipe } from './recipe.ts'
import { Repeats } from './repeats.ts'

/** Documents with fewer characters are left out: titles, redirections, lists of links. */
const MIN_DOCUMENT = 200

/** Paragraphs of this length are left out where many documents have them. Code repeats more by its nature. */
const MIN_REPEATED = { code: 160, prose: 80 }

export interface BuildProgress {
  readonly package: string
  /** Files of the part that are read, and all of them. */
  readonly done: number
  readonly total: number
  /** Of the corpus until now. */
  readonly documents: number
  readonly bytes: number
}

export interface BuildOptions {
  readonly without: readonly string[]
  /** A folder for unpacked archives. */
  readonly scratch: string
  readonly onProgress?: (progress: BuildProgress) => void
  readonly signal?: AbortSignal | undefined
}

/**
 * Writes the files of a corpus, and its manifest at last.
 * @param folder An empty folder.
 * @param found The package of each pattern in the recipe; parts without one are skipped.
 */
export async function buildCorpus(
  recipe: Recipe,
  found: ReadonlyMap<string, Package>,
  folder: string,
  { without, scratch, onProgress = () => {}, signal }: BuildOptions,
): Promise<Manifest> {
  const repeats = new Repeats()
  const files = new Map<string, DomainFile>()
  const records = new Map<string, PackageRecord>()
  const archives = new Map<string, readonly PackageFile[]>()
  const hash: Hash = createHash('sha256')
  let documents = 0
  let bytes = 0
  try {
    for (const part of recipe.parts) {
      const source = found.get(part.package)
      if (!source) continue
      const record = records.get(source.name) ?? newRecord(source)
      records.set(source.name, record)
      const output = files.get(part.domain) ?? new DomainFile(folder, part.domain)
      files.set(part.domain, output)
      const members = part.archive && (archives.get(source.name) ?? (await unpacked(recipe, source, scratch, signal)))
      if (members) archives.set(source.name, members)
      const wanted = wantedFiles(part, source, members)
      for (const [done, file] of wanted.entries()) {
        onProgress({ package: source.name, done, total: wanted.length, documents, bytes })
        await nextTurn()
        signal?.throwIfAborted()
        const read = fileDocuments(file.path, file.name, part.markup)
        record.bytes.files += read.bytes
        for (const problem of read.problems) record.dropped[problem]++
        for (const document of read.documents) {
          const name = `${source.name}/${document.name.replace(/^usr\/share\/(doc\/)?/, '')}`
          if (part.share !== undefined && !isChosen(document.name, part.share)) continue
          const drop = (reason: DropReason): void => void record.dropped[reason]++
          const cleaned = Buffer.byteLength(document.text)
          record.bytes.cleaned += cleaned
          if (document.text.length < MIN_DOCUMENT) {
            drop('short')
            continue
          }
          const {
            text: distinct,
            reason,
            isCut,
          } = repeats.distinct(document.text, MIN_REPEATED[part.isCode ? 'code' : 'prose'])
          if (distinct === undefined) {
            drop(reason ?? 'duplicate')
            continue
          }
          const text = isCut ? `${distinct.replace(/\n{3,}/g, '\n\n').trim()}\n` : distinct
          const size = Buffer.byteLength(text)
          record.bytes.repeated += cleaned - size
          if (text.length < MIN_DOCUMENT) {
            drop('short')
            continue
          }
          output.write({ text, name, package: source.name }, size)
          hash.update(text).update('\0')
          documents++
          bytes += size
          record.documents++
          record.bytes.kept += size
        }
      }
      onProgress({ package: source.name, done: wanted.length, total: wanted.length, documents, bytes })
    }
    const domains = [...files.values()].filter(({ documents }) => documents > 0).map((file) => file.close())
    if (domains.length === 0) throw new RunError(`recipe ${recipe.name}: no package has documents for it`)
    for (const file of files.values()) if (file.documents === 0) file.discard()
    const packages = [...records.values()]
    mkdirSync(join(folder, copyrightFolder))
    for (const { name, copyright } of found.values())
      if (copyright !== undefined) copyFileSync(copyright, join(folder, copyrightFolder, name))
    const manifest: Manifest = {
      kind: 'corpus',
      recipe: recipe.name,
      recipeVersion: recipe.version,
      without,
      documents,
      bytes,
      sha256: hash.digest('hex'),
      domains,
      packages,
    }
    writeFileSync(join(folder, summaryFile), summaryText(manifest), { flush: true })
    writeFileSync(join(folder, manifestFile), `${JSON.stringify(manifest, null, 2)}\n`, { flush: true })
    return manifest
  } finally {
    for (const file of files.values()) file.release()
  }
}

const newRecord = ({ name, version, licences }: Package): PackageRecord => ({
  name,
  version,
  licences,
  documents: 0,
  bytes: { files: 0, cleaned: 0, kept: 0, repeated: 0 },
  dropped: { short: 0, duplicate: 0, copied: 0, binary: 0, encoding: 0, damaged: 0 },
})

/** @throws RunError if the package has no file for the part: it is not the package that the recipe was written for */
function wantedFiles(part: Part, source: Package, members: readonly PackageFile[] | undefined): readonly PackageFile[] {
  const isWanted = (name: string): boolean => part.files.test(name) && !part.except?.test(name)
  const wanted = members ? members.filter(({ name }) => isWanted(name)) : source.files(isWanted)
  if (wanted.length === 0)
    throw new RunError(
      `package ${source.name} ${source.version} has no documents where the recipe expects them (${part.files.source}): ` +
        `leave it out with --without '${part.package}'`,
    )
  return wanted
}

/** Unpacks all that a recipe needs of the archive in a package. */
async function unpacked(
  recipe: Recipe,
  source: Package,
  scratch: string,
  signal?: AbortSignal,
): Promise<readonly PackageFile[]> {
  const parts = recipe.parts.flatMap(({ package: pattern, archive }) =>
    archive && source.pattern === pattern ? archive : [],
  )
  const archive = source.files((name) => parts.some(({ file }) => file.test(name)))[0]
  if (!archive) throw new RunError(`package ${source.name} has no archive ${parts[0]?.file.source ?? ''}`)
  const folder = join(scratch, source.name)
  mkdirSync(folder)
  await unpackArchive(archive.path, [...new Set(parts.flatMap(({ members }) => members))], folder, signal)
  return filesBelow(folder)
}

/** Whether a document is in a share of all, by the hash of its name in the package. */
function isChosen(name: string, share: number): boolean {
  return createHash('sha256').update(name).digest().readUInt32BE(0) < share * 2 ** 32
}
