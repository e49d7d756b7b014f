/** Reads the files of tensors of a checkpoint on the disk. */
import { createHash } from 'node:crypto'
import { access, type FileHandle, open, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { RunError } from '../../../core/errors.ts'
import {
  type Digest,
  type Expected,
  fillTensors,
  type TensorFile,
} from '../../../train/run/checkpoint/read-safetensors.ts'
import type { NamedTensor } from '../../../train/step/store/named-tensors.ts'

/**
 * Fills the tensors from `<stem>.safetensors` or its shards.
 * @throws RunError for the reasons of {@link fillTensors}, or if a file cannot be read
 */
export async function readSafetensors(
  folder: string,
  stem: string,
  tensors: readonly NamedTensor[],
  expected: Expected = {},
): Promise<void> {
  const files: DiskFile[] = []
  try {
    for (const name of await shardNames(folder, stem)) files.push(await DiskFile.open(join(folder, name)))
    await fillTensors(files, join(folder, `${stem}.safetensors`), tensors, startDigest, expected)
  } finally {
    await Promise.all(files.map((file) => file.close()))
  }
}

function startDigest(): Digest {
  const hash = createHash('sha256')
  return { update: (bytes) => hash.update(bytes), end: async () => hash.digest('hex') }
}

/** Files of a stem: `<stem>.safetensors`, or the shards in its index. @throws RunError if there are no such files */
export async function shardNames(folder: string, stem: string): Promise<string[]> {
  const single = `${stem}.safetensors`
  const isSingle = await access(join(folder, single)).then(
    () => true,
    () => false,
  )
  if (isSingle) return [single]
  const path = join(folder, `${single}.index.json`)
  const text = await readFile(path, 'utf8').catch((error: Error) => {
    throw new RunError(`no ${single} in ${folder} (${error.message})`)
  })
  try {
    const { weight_map: map } = JSON.parse(text) as { weight_map: Record<string, string> }
    const names = [...new Set(Object.values(map))]
    if (names.every((name) => name === basename(name))) return names
  } catch {}
  throw new RunError(`${path} is damaged: it does not map tensor names to files`)
}

/** A file of tensors on a disk; close it after use. */
export class DiskFile implements TensorFile {
  readonly path: string
  readonly size: number
  private readonly handle: FileHandle

  private constructor(path: string, handle: FileHandle, size: number) {
    this.path = path
    this.handle = handle
    this.size = size
  }

  static async open(path: string): Promise<DiskFile> {
    const handle = await open(path, 'r').catch((error: Error) => {
      throw new RunError(`cannot read ${path}: ${error.message}`)
    })
    try {
      return new DiskFile(path, handle, (await handle.stat()).size)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  async read(into: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < into.length; ) {
      const { bytesRead } = await this.handle.read(into, done, into.length - done, position + done)
      if (bytesRead === 0) throw new RunError(`${this.path} is damaged: it ends at byte ${position + done}`)
      done += bytesRead
    }
  }

  close(): Promise<void> {
    return this.handle.close()
  }
}
