/** Reads the file of an option. */
import { UsageError } from '../../core/errors.ts'
import { CONFIG_BYTES, readText } from '../../node/system/read-text.ts'

/**
 * @param flag Name of the option, such as `--hostfile`.
 * @param expected Contents that the option expects, for the message.
 * @throws UsageError if the file cannot be read
 */
export async function readGiven(flag: string, file: string, expected: string): Promise<string> {
  try {
    return await readText(file, CONFIG_BYTES)
  } catch (error) {
    throw new UsageError(`cannot read ${flag} "${file}": ${(error as Error).message} (expected ${expected})`)
  }
}
