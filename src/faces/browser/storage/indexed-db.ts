/** Stores runs in IndexedDB, for browsers without an origin private file system. */
import { RunError } from '../../../core/errors.ts'
import { opfsStore } from './opfs.ts'
import { type Database, platform, type Request, type Transaction } from './platform.ts'
import { type RunStore, runStore, type SlotName } from './run-store.ts'

const DATABASE = 'choir'
const RUNS = 'runs'

/**
 * Opens the store of a run.
 * @param name Name of the run, for a site that stores several runs.
 * @throws RunError if the browser has no IndexedDB, as in some private windows
 */
export async function indexedDbStore(name = 'run'): Promise<RunStore> {
  const database = await openDatabase()
  const keyOf = (slot: SlotName) => `${name}.${slot}`
  const change = async (order: (runs: ReturnType<Transaction['objectStore']>) => void): Promise<void> => {
    const transaction = database.transaction(RUNS, 'readwrite', { durability: 'strict' })
    order(transaction.objectStore(RUNS))
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = resolve
      transaction.onabort = () => reject(transaction.error ?? new Error('the browser ended the transaction'))
    })
  }
  return runStore({
    async read(slot) {
      const found = await resultOf(database.transaction(RUNS, 'readonly').objectStore(RUNS).get(keyOf(slot)))
      return found instanceof Uint8Array ? found : null
    },
    write: (slot, bytes) => change((runs) => runs.put(bytes, keyOf(slot))),
    clear: () =>
      change((runs) => {
        for (const slot of ['a', 'b'] as const) runs.delete(keyOf(slot))
      }),
  })
}

async function openDatabase(): Promise<Database> {
  const opening = platform.indexedDB?.open(DATABASE, 1)
  if (!opening) throw new RunError('cannot store runs in this browser: it has no IndexedDB')
  opening.onupgradeneeded = () => void opening.result.createObjectStore(RUNS)
  return resultOf(opening).catch((error: Error) => {
    throw new RunError(`cannot store runs in this browser: ${error.message}`)
  })
}

const resultOf = <T>(request: Request<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('the browser refused'))
  })

/** A store in the file system of the browser, or else in its database. @throws RunError if it has neither */
export const browserStore = (name?: string): Promise<RunStore> => opfsStore(name).catch(() => indexedDbStore(name))
