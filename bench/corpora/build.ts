/**
 * Builds a corpus in a folder: cleaned documents of packages, without repetitions, in one JSONL file for each domain.
 */
import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { option, RunError, wording } from '../../src/core/errors.ts'
import { nextTurn } from '../../src/core/next-turn.ts'
import { CorpusWriter } from './corpus-writer.ts'
import { documentName, fileDocuments } from './documents.ts'
import { copyrightFolder, type Manifest, manifestFile, summaryFile, summaryText } from './manifest.ts'
import { filesBelow, type Package, type PackageFile } from './packages.ts'
import { unpackArchive } from './programs.ts'
import type { Part, Recipe } from './recipe.ts'

export interface BuildProgress {
  readonly package: string
  /** Number of files of the part that have been read. */
  readonly done: number
  /** Number of all files of the part. */
  readonly total: number
  /** Documents of the corpus until now. */
  readonly documents: number
  /** Bytes of the corpus until now. */
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
 * @param folder an empty folder
 * @param found the package of each pattern in the recipe; parts without a package are skipped
 */
export async function buildCorpus(
  recipe: Recipe,
  found: ReadonlyMap<string, Package>,
  folder: string,
  { without, scratch, onProgress = () => {}, signal }: BuildOptions,
): Promise<Manifest> {
  const writer = new CorpusWriter(folder)
  const archives = new Map<string, readonly PackageFile[]>()
  try {
    for (const part of recipe.parts) {
      const source = found.get(part.package)
      if (!source) continue
      const members = part.archive && (archives.get(source.name) ?? (await unpacked(recipe, source, scratch, signal)))
      if (members) archives.set(source.name, members)
      const record = writer.record(source)
      const files = filesOf(part, source, members)
      const report = (done: number): void => {
        const { documents, bytes } = writer
        onProgress({ package: source.name, done, total: files.length, documents, bytes })
      }
      for (const [done, file] of files.entries()) {
        report(done)
        await nextTurn()
        signal?.throwIfAborted()
        const read = fileDocuments(file.path, file.name, part.markup)
        record.bytes.files += read.bytes
        for (const document of read.documents)
          if (part.markup !== 'dictionary' || isChosen(document.name, part)) writer.add(part, record, document)
      }
      report(files.length)
    }
    const { sha256, domains, packages } = writer.finish()
    if (domains.length === 0)
      throw new RunError(`recipe ${recipe.name}: its packages have no documents that can be kept`)
    mkdirSync(join(folder, copyrightFolder))
    for (const { name, copyright } of found.values())
      if (copyright !== undefined) copyFileSync(copyright, join(folder, copyrightFolder, name))
    const manifest: Manifest = {
      kind: 'corpus',
      recipe: recipe.name,
      recipeVersion: recipe.version,
      without,
      documents: writer.documents,
      bytes: writer.bytes,
      sha256,
      domains,
      packages,
    }
    writeFileSync(join(folder, summaryFile), summaryText(manifest), { flush: true })
    writeFileSync(join(folder, manifestFile), `${JSON.stringify(manifest, null, 2)}\n`, { flush: true })
    return manifest
  } finally {
    writer.release()
  }
}

/** The files of a part. @throws RunError if there are none: the recipe was written for another package of this name */
function filesOf(part: Part, source: Package, members: readonly PackageFile[] | undefined): readonly PackageFile[] {
  const isWanted = (name: string): boolean => part.files.test(name) && !part.except?.test(name)
  const wanted = members ? members.filter(({ name }) => isWanted(name)) : source.files(isWanted)
  if (wanted.length === 0)
    throw new RunError(
      wording`package ${source.name} ${source.version} has no documents where the recipe expects them (${part.files.source}): ${wording`leave it out with ${option('without', `'${part.package}'`)}`}`,
    )
  return part.markup === 'dictionary' ? wanted : wanted.filter(({ name }) => isChosen(documentName(name), part))
}

/** Unpacks all members that a recipe needs from the archive in a package. */
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

/** Whether a part takes a document into its share. The hash of the document's name in the package decides. */
function isChosen(name: string, { share = 1 }: Part): boolean {
  return createHash('sha256').update(name).digest().readUInt32BE(0) < share * 2 ** 32
}
