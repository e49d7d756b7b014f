/** Reads the law of `choir worth`: the law that ships with the package, or a given law.json. */
import { fileURLToPath } from 'node:url'
import { UsageError } from '../../../core/errors.ts'
import { packageFile } from '../../../core/package-file.ts'
import { CONFIG_BYTES, readText } from '../../../node/system/read-text.ts'
import { type LawFile, parseLaw } from '../../law/law-file.ts'

/** Path of the law in the package, beside `dist` (`files` in package.json). */
export const shippedLaw = fileURLToPath(packageFile('laws/law.json'))

/**
 * @param file path of a law.json; default: the law of the package
 * @throws UsageError if the file cannot be read, or is not a law
 */
export async function loadLaw(file = shippedLaw): Promise<LawFile> {
  try {
    return parseLaw(await readText(file, CONFIG_BYTES))
  } catch (error) {
    throw new UsageError(
      `cannot read law ${JSON.stringify(file)}: ${(error as Error).message}. A law is the law.json of a study with the view map; choir study FILE --report --out DIR writes it again`,
    )
  }
}
