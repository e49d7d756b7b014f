/**
 * The manifest of a corpus lists its files, packages and licences: as JSON in the folder of the corpus, and as a
 * summary for people. The names of both files begin with a dot, so that a training on the folder does not read them.
 */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { parseJson } from '../../src/core/text/json.ts'
import { bytes, grouped, plural } from '../../src/core/text/numbers.ts'
import { checksum } from '../../src/node/system/disk.ts'

export const manifestFile = '.corpus.json'
export const summaryFile = '.summary.txt'
/** Folder with the copyright file of each package. */
export const copyrightFolder = '.copyright'

/** Reasons why documents are left out. */
export const dropReasons = ['short', 'duplicate', 'copied', 'binary', 'encoding', 'damaged'] as const
export type DropReason = (typeof dropReasons)[number]

export interface PackageRecord {
  readonly name: string
  readonly version: string
  readonly licences: readonly string[]
  documents: number
  readonly bytes: {
    /** Bytes of the package's files, decompressed. */
    files: number
    /** Bytes of the text without markup. */
    cleaned: number
    /** Bytes of the text in the corpus. */
    kept: number
    /** Bytes of paragraphs that are left out of documents because many documents have them. */
    repeated: number
  }
  readonly dropped: Record<DropReason, number>
}

export interface DomainRecord {
  readonly name: string
  readonly file: string
  readonly documents: number
  /** Bytes of the text in the file. */
  readonly bytes: number
  /** Hash of the file. */
  readonly sha256: string
}

export interface Manifest {
  readonly kind: 'corpus'
  readonly recipe: string
  readonly recipeVersion: number
  readonly without: readonly string[]
  readonly documents: number
  /** Bytes of the text in UTF-8. */
  readonly bytes: number
  /** Hash of the texts of all documents, each followed by a NUL byte, in the order of packages and documents. */
  readonly sha256: string
  readonly domains: readonly DomainRecord[]
  readonly packages: readonly PackageRecord[]
}

/** The manifest of a corpus; undefined if the folder holds none. */
export function readManifest(folder: string): Manifest | undefined {
  try {
    const manifest = JSON.parse(readFileSync(join(folder, manifestFile), 'utf8')) as Partial<Manifest>
    return manifest.kind === 'corpus' && Array.isArray(manifest.domains) ? (manifest as Manifest) : undefined
  } catch {
    return undefined
  }
}

const origin = z.object({
  recipe: z.string().optional(),
  without: z.array(z.string()).optional(),
  sha256: z.string().optional(),
  packages: z.array(z.object({ name: z.string().min(1), version: z.string() })).min(1),
})

/** What a corpus was made from: the part of its manifest that says how to make it again. Only packages are needed. */
export type Origin = z.output<typeof origin>

/** @throws SyntaxError whose message is a clause about the file */
export function parseOrigin(text: string): Origin {
  const { success, data } = origin.safeParse(parseJson(text))
  if (!success) throw new SyntaxError('it has no packages with their versions')
  return data
}

/** Whether the files of a corpus are there as its manifest lists them. */
export async function isWhole(folder: string, { domains }: Manifest): Promise<boolean> {
  for (const { file, sha256 } of domains) {
    const path = join(folder, file)
    if (!statSync(path, { throwIfNoEntry: false })?.isFile() || (await checksum(path)) !== sha256) return false
  }
  return true
}

/** A summary for people: packages, licences, sizes, and the text that is left out. */
export function summaryText(manifest: Manifest): string {
  const { recipe, recipeVersion, without, documents, bytes: size, sha256, domains, packages } = manifest
  const lines = [
    `Corpus ${recipe}, version ${recipeVersion} of its recipe, made by bench/corpora/make.ts`,
    '',
    `${plural(documents, 'document')}, ${bytes(size)} of text, SHA-256 ${sha256}`,
    ...(without.length > 0 ? [`without ${without.join(', ')}`] : []),
    '',
    'The text of each package stays under its licence (.copyright has the files that say so).',
    '',
    'Files',
    ...domains.map((domain) => `  ${domain.file}: ${plural(domain.documents, 'document')}, ${bytes(domain.bytes)}`),
    '',
    'Packages',
  ]
  for (const record of packages) {
    const { files, cleaned, kept, repeated } = record.bytes
    const dropped = dropReasons.filter((reason) => record.dropped[reason] > 0)
    lines.push(
      `  ${record.name} ${record.version || '(unknown version)'}`,
      `    licences: ${licenceText(record.licences)}`,
      `    ${bytes(files)} of files, ${bytes(cleaned)} of text, ${bytes(kept)} kept in ${plural(record.documents, 'document')}`,
      `    left out: ${bytes(repeated)} of repeated paragraphs${dropped.map((reason) => `; ${grouped(record.dropped[reason])} ${dropWords[reason]}`).join('')}`,
    )
  }
  return `${lines.join('\n')}\n`
}

const dropWords: Readonly<Record<DropReason, string>> = {
  short: 'short documents',
  duplicate: 'duplicates',
  copied: 'documents that are mostly copies',
  binary: 'binary files',
  encoding: 'files in an unknown encoding',
  damaged: 'damaged files',
}

/** The licences of a package, at most six of them by name. */
const licenceText = (licences: readonly string[]): string =>
  licences.length === 0
    ? 'see its copyright file'
    : licences.slice(0, 6).join(', ') + (licences.length > 6 ? ` and ${licences.length - 6} more` : '')
