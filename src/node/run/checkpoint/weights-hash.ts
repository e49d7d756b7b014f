/** A hash that names the weights of a checkpoint. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256 } from '../../../core/sha256.ts'
import { SUMS } from '../../../train/run/checkpoint/description.ts'

/**
 * The SHA-256 of `model.safetensors` or, if there are several files, the SHA-256 of their lines in SHA256SUMS.
 * @param path Folder of an intact checkpoint.
 */
export async function weightsHash(path: string): Promise<string> {
  const lines = (await readFile(join(path, SUMS), 'utf8')).split('\n')
  const files = lines.filter((line) => /^[0-9a-f]{64} [ *]model\S*\.safetensors$/.test(line))
  const [only = ''] = files
  return files.length === 1 ? only.slice(0, 64) : sha256(files.map((line) => `${line}\n`).join(''))
}
