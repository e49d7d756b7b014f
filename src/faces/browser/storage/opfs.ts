/** Stores runs in the origin private file system: files of a web site that only it sees. */
import { RunError } from '../../../core/errors.ts'
import { type Directory, type FileHandle, platform, type SyncAccess } from './platform.ts'
import { type RunStore, runStore, type SlotName } from './run-store.ts'

const FOLDER = 'choir'

/**
 * Opens the store of a run.
 * @param name Name of the run, for a site that stores several runs. It must be a file name.
 * @throws RunError if the browser has no such file system, as in some private windows
 */
export async function opfsStore(name = 'run'): Promise<RunStore> {
  const folder = await openFolder()
  const fileOf = (slot: SlotName) => `${name}.${slot}`
  return runStore({
    async read(slot) {
      const handle = await folder.getFileHandle(fileOf(slot), { create: false }).catch(() => null)
      return handle && new Uint8Array(await (await handle.getFile()).arrayBuffer())
    },
    async write(slot, bytes) {
      await writeFile(await folder.getFileHandle(fileOf(slot), { create: true }), bytes)
    },
    async clear() {
      for (const slot of ['a', 'b'] as const) await folder.removeEntry(fileOf(slot)).catch(() => undefined)
    },
  })
}

async function openFolder(): Promise<Directory> {
  try {
    const root = await platform.navigator?.storage?.getDirectory?.()
    if (root) return await root.getDirectoryHandle(FOLDER, { create: true })
  } catch (error) {
    throw new RunError(`cannot store runs in this browser: ${(error as Error).message}`)
  }
  throw new RunError('cannot store runs in this browser: it has no origin private file system')
}

async function writeFile(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  // Not all browsers have both ways to write, and this way exists in workers only.
  const access = await handle.createSyncAccessHandle?.()
  if (access) return writeThrough(access, bytes)
  const stream = await handle.createWritable?.()
  if (!stream) throw new Error('files can be written in a worker only')
  await stream.write(bytes)
  await stream.close()
}

function writeThrough(access: SyncAccess, bytes: Uint8Array): void {
  try {
    access.truncate(0)
    for (let at = 0; at < bytes.length; ) {
      const written = access.write(bytes.subarray(at), { at })
      if (written === 0) throw new Error('no space is left')
      at += written
    }
    access.flush()
  } finally {
    access.close()
  }
}
