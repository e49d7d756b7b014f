/** Reads the law of `choir worth`: the law that ships with the package, or a given law.json. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { UsageError } from '../../../core/errors.ts'
import { packageFile } from '../../../core/package-file.ts'
import { errorCode } from '../../../node/system/disk.ts'
import { type LawFile, parseLaw } from '../../law/law-file.ts'

/** Path of the law in the package, beside `dist` (`files` in package.json). */
export const shippedLaw = fileURLToPath(packageFile('laws/law.json'))

/**
 * @param file path of a law.json; default: the law of the package
 * @returns null if the package has no law
 * @throws UsageError if a given file cannot be read, or is not a law
 */
export async function loadLaw(file?: string): Promise<LawFile | null> {
  try {
    return parseLaw(await readFile(file ?? shippedLaw, 'utf8'))
  } catch (error) {
    if (file === undefined && errorCode(error) === 'ENOENT') return null
    throw new UsageError(
      `cannot read law ${JSON.stringify(file ?? shippedLaw)}: ${(error as Error).message} (expected the law.json of a study with the view map)`,
    )
  }
}
