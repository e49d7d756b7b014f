/** The tokenizer.json of a run. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { RunError } from '../errors.ts'

/** @throws RunError if it cannot be read */
export function readTokenizer(directory: string): Promise<string> {
  return readFile(join(directory, 'tokenizer.json'), 'utf8').catch((error: Error) => {
    throw new RunError(`cannot read the tokenizer of ${directory}: ${error.message}`)
  })
}
