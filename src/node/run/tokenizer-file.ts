/** The tokenizer.json of a run. */
import { join } from 'node:path'
import { RunError } from '../../core/errors.ts'
import { JSON_BYTES, readText } from '../system/read-text.ts'

/** Reads the tokenizer.json of the run in a directory. @throws RunError if it cannot be read */
export function readTokenizer(directory: string): Promise<string> {
  return readText(join(directory, 'tokenizer.json'), JSON_BYTES).catch((error: Error) => {
    throw new RunError(`cannot read the tokenizer of ${directory}: ${error.message}`)
  })
}
