/**
 * Keeps one run of a page, so that a closed tab loses nothing that was saved.
 *
 * There are two slots, written in turn. A slot is valid if it ends with the checksum of the bytes before it. A browser
 * that is killed in the middle of a write leaves the other slot valid, with the run that was saved before.
 *
 *     8 bytes "choir-1\n" · 8 bytes number of the write, little endian · the run as a zip file · 32 bytes SHA-256
 */
import { RunError } from '../../../core/errors.ts'
import { Exclusive } from './exclusive.ts'

export interface RunStore {
  /** Replaces the stored run. @throws RunError if the browser refuses; the stored run stays */
  save(zip: Uint8Array): Promise<void>
  /** The stored run; null if there is none. */
  load(): Promise<Uint8Array | null>
  /** Removes the stored run. */
  clear(): Promise<void>
}

export type SlotName = 'a' | 'b'

/** Memory for two runs. */
export interface Slots {
  /** The contents of a slot; null if nothing has been written. */
  read(slot: SlotName): Promise<Uint8Array | null>
  write(slot: SlotName, bytes: Uint8Array): Promise<void>
  clear(): Promise<void>
}

const MAGIC = new TextEncoder().encode('choir-1\n')
const HEADER_BYTES = 16
const SUM_BYTES = 32

interface Stored {
  readonly slot: SlotName
  readonly number: number
  readonly zip: Uint8Array
}

export function runStore(slots: Slots): RunStore {
  const exclusive = new Exclusive()
  const newest = async (): Promise<Stored | undefined> => {
    const found = await Promise.all((['a', 'b'] as const).map(async (slot) => parse(slot, await slots.read(slot))))
    return found.filter((stored) => stored !== null).sort((a, b) => b.number - a.number)[0]
  }
  return {
    save: (zip) =>
      exclusive.run(async () => {
        const last = await newest()
        const bytes = await format((last?.number ?? 0) + 1, zip)
        await slots.write(last?.slot === 'a' ? 'b' : 'a', bytes).catch((error: unknown) => {
          const reason = error instanceof Error ? error.message : String(error)
          throw new RunError(
            `cannot store the run: ${reason} (the one stored before is intact; free space in the browser)`,
          )
        })
      }),
    load: () => exclusive.run(async () => (await newest())?.zip ?? null),
    clear: () => exclusive.run(() => slots.clear()),
  }
}

async function format(number: number, zip: Uint8Array): Promise<Uint8Array> {
  const bytes = new Uint8Array(HEADER_BYTES + zip.length + SUM_BYTES)
  bytes.set(MAGIC)
  new DataView(bytes.buffer).setBigUint64(MAGIC.length, BigInt(number), true)
  bytes.set(zip, HEADER_BYTES)
  bytes.set(await digest(bytes.subarray(0, -SUM_BYTES)), HEADER_BYTES + zip.length)
  return bytes
}

/** The run in a slot; null if the slot is empty or damaged. */
async function parse(slot: SlotName, bytes: Uint8Array | null): Promise<Stored | null> {
  if (!bytes || bytes.length < HEADER_BYTES + SUM_BYTES || !startsWith(bytes, MAGIC)) return null
  const end = bytes.length - SUM_BYTES
  if (!startsWith(bytes.subarray(end), await digest(bytes.subarray(0, end)))) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  return { slot, number: Number(view.getBigUint64(MAGIC.length, true)), zip: bytes.slice(HEADER_BYTES, end) }
}

const startsWith = (bytes: Uint8Array, start: Uint8Array): boolean => start.every((byte, i) => bytes[i] === byte)

const digest = async (bytes: Uint8Array): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>))

/** A store in memory, which is lost when the page is closed. */
export function memoryStore(): RunStore {
  const slots = new Map<SlotName, Uint8Array>()
  return runStore({
    read: async (slot) => slots.get(slot) ?? null,
    write: async (slot, bytes) => void slots.set(slot, bytes),
    clear: async () => slots.clear(),
  })
}
