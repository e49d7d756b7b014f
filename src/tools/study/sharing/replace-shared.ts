/** Replaces files of a study that several processes may write at once, such as those of its report. */
import { randomUUID } from 'node:crypto'
import { replaceFile } from '../../../node/system/disk.ts'

/** Replaces a file atomically, with a draft that no other process has. A process that is killed leaves its draft. */
export const replaceShared = (path: string, contents: string | Uint8Array): Promise<void> =>
  replaceFile(path, contents, `${path}.${randomUUID()}.tmp`)
