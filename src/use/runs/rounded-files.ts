/**
 * The files of a copy of rounded weights. A file such as `weights-1.bin` has the bytes of an arena of the store, so it is
 * mapped over that arena and not read, where the system can do this. `source.json` is written last: it names the source
 * of the copy, and the SHA-256 of each file.
 *
 * Gigabytes are not hashed at each start: bytes of a file that still has the state in which they were compared with their
 * sum (its size, its times, its number on the disk) are the same.
 */
import { createHash } from 'node:crypto'
import type { BigIntStats } from 'node:fs'
import { chmod, type FileHandle, open, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { RunError } from '../../core/errors.ts'
import { parseJson } from '../../core/text/json.ts'
import { type ArenaRange, hostOf } from '../../engine/contract/arena.ts'
import { writeChecked } from '../../node/run/checkpoint/checked-file.ts'
import { replaceFile, syncFolder } from '../../node/system/disk.ts'

export const SOURCE = 'source.json'
/** Version of `source.json`. */
const FORMAT = 3
/** Bytes that are read or hashed between two looks at the signal. */
const PIECE_BYTES = 16 << 20
/** Only the owner may write a file that is mapped. */
const MODE = 0o644

const descriptionSchema = z.object({
  format: z.literal(FORMAT),
  source: z.string(),
  /** SHA-256 of each file, and its state when the bytes had this sum. */
  images: z.array(z.object({ sum: z.string(), state: z.string() })),
})
type Description = z.infer<typeof descriptionSchema>

/** The memory of a store: a range of each arena, from its beginning on. */
type Images = readonly ArenaRange[]

/** Bytes of the copy of a store. */
export const copyBytes = (images: Images): number => images.reduce((sum, { count }) => sum + 4 * count, 0)

/** The source of the copy in a folder; null if there is no copy, or one of another version. */
export async function sourceIn(folder: string): Promise<string | null> {
  return (await descriptionIn(folder))?.source ?? null
}

async function descriptionIn(folder: string): Promise<Description | null> {
  try {
    return descriptionSchema.parse(parseJson(await readFile(join(folder, SOURCE), 'utf8')))
  } catch {
    return null
  }
}

/**
 * Fills the memory of a store from the copy in a folder.
 * @returns false if there is no copy of this source; then the memory is as it was
 * @throws Error if the copy is damaged or cannot be read; then the memory is zero
 */
export async function readCopyFiles(
  folder: string,
  source: string,
  images: Images,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const description = await descriptionIn(folder)
  if (description?.source !== source || description.images.length !== images.length) return false
  const states: string[] = []
  try {
    for (const [i, image] of images.entries())
      states.push(await readImage(join(folder, imageName(i)), image, description.images[i] as Image, signal))
  } catch (error) {
    // Whoever fills the memory now writes the tensors, but not the padding between them, which must be zero.
    for (const image of images) bytesOf(image).fill(0)
    throw error
  }
  if (states.some((state, i) => state !== description.images[i]?.state)) {
    const checked = description.images.map(({ sum }, i) => ({ sum, state: states[i] }))
    // Where it cannot be written, the next start hashes the bytes again.
    await replaceFile(join(folder, SOURCE), JSON.stringify({ ...description, images: checked })).catch(() => undefined)
  }
  return true
}

/**
 * Writes a copy into an empty folder.
 * @throws the reason of the signal when it is aborted
 */
export async function writeCopyFiles(
  folder: string,
  source: string,
  images: Images,
  signal: AbortSignal | undefined,
): Promise<void> {
  const written: Image[] = []
  for (const [i, image] of images.entries()) {
    const path = join(folder, imageName(i))
    const bytes = bytesOf(image)
    const piece = { byteLength: bytes.length, read: async () => bytes }
    const { sum } = await writeChecked(path, { name: imageName(i), bytes: bytes.length, pieces: [piece] }, signal)
    await chmod(path, MODE)
    written.push({ sum, state: stateOf(await stat(path, { bigint: true })) })
  }
  const description: Description = { format: FORMAT, source, images: written }
  await writeFile(join(folder, SOURCE), JSON.stringify(description), { flush: true })
  await syncFolder(folder)
}

type Image = Description['images'][number]

const imageName = (i: number): string => `weights-${i + 1}.bin`

const bytesOf = ({ arena, start, count }: ArenaRange): Uint8Array =>
  new Uint8Array(hostOf(arena).buffer, 4 * start, 4 * count)

/** Maps or reads the bytes of an arena, and compares them with their sum unless their file has the known state. */
async function readImage(
  path: string,
  range: ArenaRange,
  { sum, state }: Image,
  signal: AbortSignal | undefined,
): Promise<string> {
  const bytes = bytesOf(range)
  const file = await open(path, 'r')
  try {
    const found = await file.stat({ bigint: true })
    if (found.size !== BigInt(bytes.length))
      throw new RunError(`${path} is damaged: it has ${found.size} bytes (expected ${bytes.length})`)
    // Native libraries are optional, and reports need none.
    const { mapFile } = await import('../../engine/native/mapped-file.ts')
    const mapped = isOwn(found) ? mapFile(hostOf(range.arena), file.fd, bytes.length) : 0
    await readRest(file, path, bytes, mapped, signal)
    if (stateOf(found) !== state && (await sumOf(bytes, signal)) !== sum)
      throw new RunError(`${path} is damaged: its bytes have changed`)
    return stateOf(found)
  } finally {
    await file.close()
  }
}

const stateOf = ({ ino, size, mtimeNs, ctimeNs }: BigIntStats): string => [ino, size, mtimeNs, ctimeNs].join(' ')

/** Whether nobody but its owner may write a file, and the owner is this user or the system's administrator. */
const isOwn = ({ mode, uid }: BigIntStats): boolean =>
  (Number(mode) & 0o022) === 0 && [0, process.getuid?.()].includes(Number(uid))

async function readRest(
  file: FileHandle,
  path: string,
  bytes: Uint8Array,
  from: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let at = from; at < bytes.length; ) {
    signal?.throwIfAborted()
    const { bytesRead } = await file.read(bytes, at, Math.min(PIECE_BYTES, bytes.length - at), at)
    if (bytesRead === 0) throw new RunError(`${path} is damaged: it ends at byte ${at}`)
    at += bytesRead
  }
}

async function sumOf(bytes: Uint8Array, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256')
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    hash.update(bytes.subarray(at, at + PIECE_BYTES))
    // Signals are handled between pieces.
    await new Promise((resolve) => setTimeout(resolve))
    signal?.throwIfAborted()
  }
  return hash.digest('hex')
}
