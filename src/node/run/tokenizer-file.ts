/** Files of a run that define its texts: tokenizer.json, and generation.json in runs with an imported model. */
import { join } from 'node:path'
import { RunError } from '../../core/errors.ts'
import { parseJson } from '../../core/text/json.ts'
import { parseTextRules, type TextRules } from '../../train/data/tokenizer/text-rules.ts'
import { errorCode } from '../system/disk.ts'
import { CONFIG_BYTES, JSON_BYTES, readText } from '../system/read-text.ts'

/** Name of the file with the rules for texts of an imported model. */
export const GENERATION = 'generation.json'

/** Reads the tokenizer.json of the run in a directory. @throws RunError if it cannot be read */
export function readTokenizer(directory: string): Promise<string> {
  return readText(join(directory, 'tokenizer.json'), JSON_BYTES).catch((error: Error) => {
    throw new RunError(`cannot read the tokenizer of ${directory}: ${error.message}`)
  })
}

/**
 * Reads the rules for texts of the run in a directory; undefined if the rules of its tokenizer.json hold.
 * @throws RunError if the file is damaged
 */
export async function readTextRules(directory: string): Promise<TextRules | undefined> {
  const path = join(directory, GENERATION)
  try {
    return parseTextRules(parseJson(await readText(path, CONFIG_BYTES)))
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw new RunError(`cannot read ${path}: ${(error as Error).message} (import the model again, or restore the file)`)
  }
}
