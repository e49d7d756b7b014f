/** The results file of a study, as text. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { RESULTS_FILE } from '../results/results-file.ts'

export const storedText = (folder: string): string =>
  gunzipSync(readFileSync(join(folder, RESULTS_FILE))).toString('utf8')

/** The contents of the file, whose type the caller knows. */
export const readStored = <Stored>(folder: string): Stored => JSON.parse(storedText(folder)) as Stored

export const writeStored = (folder: string, text: string): void =>
  writeFileSync(join(folder, RESULTS_FILE), gzipSync(text))
