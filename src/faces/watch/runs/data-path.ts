/** Paths that a user permits to be read, with `--data` or as the folder of runs. */
import { realpath } from 'node:fs/promises'
import { option, UsageError, wording } from '../../../core/errors.ts'
import { errorCode } from '../../../node/system/disk.ts'

/** The real path. @throws UsageError if there is none */
export async function realDataPath(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    // Folders of runs have been checked before, so this path is from --data.
    const why = errorCode(error) === 'ENOENT' ? 'there is no such file or folder' : (error as Error).message
    throw new UsageError(wording`invalid ${option('data')}: "${path}" (${why})`)
  }
}
