/**
 * A folder such as `choir-int8` beside the files of a large model, with its weights as they are in memory after rounding,
 * so that they are rounded only once. `source.json` names the state of the files from which they were made, and how they
 * were rounded: if one of these changes, or one byte of the copy does, the weights are rounded again. The copy is a
 * convenience: whatever prevents it is reported, and the model is used without it.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { z } from 'zod'
import { RunError } from '../../core/errors.ts'
import { sha256 } from '../../core/sha256.ts'
import { parseJson } from '../../core/text/json.ts'
import { bytes } from '../../core/text/numbers.ts'
import { version } from '../../core/version.ts'
import { writeChecked } from '../../node/run/checkpoint/checked-file.ts'
import { readSafetensors } from '../../node/run/checkpoint/tensor-files.ts'
import { errorCode, freeBytes, syncFolder } from '../../node/system/disk.ts'
import { makeTemporaryFolder, sweepLeftovers } from '../../node/system/temporary-folders.ts'
import { shardFiles } from '../../train/run/checkpoint/safetensors.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import type { NamedTensor } from '../../train/step/named-tensors.ts'
import type { QuantizedStore } from '../infer/quantized/quantized-store.ts'
import { roundedSample } from '../infer/quantized/round-matrix.ts'
import { bitsOf, type QuantizedFormat } from '../infer/quantized/weight-format.ts'

/** Smaller models are rounded in less than a second. */
const MIN_BYTES = 2 ** 26
/** Bytes that a copy leaves free on the disk. */
const RESERVE_BYTES = 2 ** 30
const STEM = 'model'
const SOURCE = 'source.json'
/** Version of `source.json`. */
const FORMAT = 2

const sourceSchema = z.object({
  format: z.literal(FORMAT),
  source: z.string(),
  /** SHA-256 of the tensors, by name. */
  tensors: z.record(z.string(), z.string()),
})

/** The files of a model that is not a run. */
export interface ModelFiles {
  /** Path of the folder of a copy without the format at its end, such as `MODEL/choir-`. */
  readonly copies: string
  /** A hash that changes when a file does. */
  state(): Promise<string>
  /** Whether these tensors of the model are stored in a type, such as `BF16`. */
  areStoredAs(dtype: string, tensors: readonly string[]): Promise<boolean>
}

export interface RoundedOptions {
  readonly files: ModelFiles
  /** Whether a copy is used; default: true. */
  readonly copy?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly onMessage: OnMessage
  /** Bytes of the store from which on a copy is kept; default: 64 MiB. */
  readonly leastBytes?: number
  /** Bytes that must stay free on the disk; default: 1 GiB. */
  readonly reserveBytes?: number
}

/**
 * Fills a store: from the copy if there is one, otherwise by `load`, which writes the float32 tensors that the store
 * rounds; then the copy is written.
 * @param load Loads what else the model needs; without tensors, their files are only compared with the model.
 * @throws the reason of the signal when it is aborted; then no part of a copy is left
 */
export async function loadRounded<T>(
  store: QuantizedStore,
  load: (tensors: readonly NamedTensor[]) => Promise<T>,
  { files, copy = true, signal, onMessage, leastBytes = MIN_BYTES, reserveBytes = RESERVE_BYTES }: RoundedOptions,
): Promise<T> {
  // A copy of weights that do not change would only take space.
  const isUsed =
    copy &&
    store.byteLength >= leastBytes &&
    !(store.format === 'bf16' && (await files.areStoredAs('BF16', store.matrixNames())))
  if (!isUsed) return load(store.tensors())
  const { format } = store
  const place: Place = { folder: `${files.copies}${format}`, source: await sourceOf(files, format) }
  const stored = store.storedTensors()
  const state = await readCopy(place, stored, onMessage, signal)
  if (state === 'intact') return load([])
  const loaded = await load(store.tensors())
  const notice = (message: string) => onMessage({ kind: 'notice', message })
  try {
    const size = stored.reduce((sum, { range }) => sum + 4 * range.count, 0)
    const problem = await problemOf(place, files, format, size + reserveBytes)
    if (problem !== null) notice(`the rounded weights are not kept: ${problem} (the next start rounds them again)`)
    else if (await writeCopy(place, stored, state === 'damaged', signal))
      notice(
        `wrote the rounded weights to ${place.folder} (${bytes(size)}), so that the model loads faster; the folder can be removed`,
      )
  } catch (error) {
    signal?.throwIfAborted()
    notice(
      `cannot write the rounded weights to ${place.folder}: ${(error as Error).message} (the next start rounds them again)`,
    )
  }
  return loaded
}

/** The folder of a copy, and the source that it must name. */
interface Place {
  readonly folder: string
  readonly source: string
}

/** Hash of all that decides the bytes of a copy: the files, and the rounding of this version of Choir. */
const sourceOf = async (files: ModelFiles, format: QuantizedFormat): Promise<string> =>
  sha256(JSON.stringify([version(), [...roundedSample(bitsOf[format])], await files.state()]))

/** The reason why no copy can be written; null if it can be. @param needed Bytes that must be free. */
async function problemOf(
  { folder, source }: Place,
  files: ModelFiles,
  format: QuantizedFormat,
  needed: number,
): Promise<string | null> {
  if ((await sourceOf(files, format)) !== source) return 'a file of the model has changed since it was read'
  const free = await freeBytes(dirname(folder))
  if (free === undefined || free >= needed) return null
  return `${folder} needs ${bytes(needed)}, with what must stay free, and the disk has ${bytes(free)}`
}

async function readCopy(
  { folder, source }: Place,
  tensors: readonly NamedTensor[],
  onMessage: OnMessage,
  signal: AbortSignal | undefined,
): Promise<'intact' | 'none' | 'damaged'> {
  try {
    const description = sourceSchema.safeParse(parseJson(await readFile(join(folder, SOURCE), 'utf8')))
    if (!description.success || description.data.source !== source) return 'none'
    await readSafetensors(folder, STEM, tensors, { census: description.data.tensors, ...(signal && { signal }) })
    return 'intact'
  } catch (error) {
    signal?.throwIfAborted()
    if (errorCode(error) === 'ENOENT') return 'none'
    onMessage({ kind: 'warning', message: `rounding the weights again: ${(error as Error).message}` })
    return 'damaged'
  }
}

/**
 * Writes the copy into a folder of its own, and then gives it its name.
 * @param replaces Whether a copy of this source is replaced, since it is damaged.
 * @returns false if another process has written the copy meanwhile
 */
async function writeCopy(
  place: Place,
  tensors: readonly NamedTensor[],
  replaces: boolean,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { folder, source } = place
  const parent = dirname(folder)
  await sweepLeftovers(parent, { isShared: true })
  const isMade = async () => !replaces && (await hasCopy(place))
  if (await isMade()) return false
  const temporary = await makeTemporaryFolder(parent, 'building')
  try {
    const draft = join(temporary, basename(folder))
    await mkdir(draft)
    const census: Record<string, string> = {}
    for (const file of shardFiles(STEM, [tensors])) {
      const { tensors: sums } = await writeChecked(join(draft, file.name), file, signal)
      Object.assign(census, sums)
    }
    await writeFile(join(draft, SOURCE), JSON.stringify({ format: FORMAT, source, tensors: census }), { flush: true })
    await syncFolder(draft)
    const isNamed = await giveName(draft, temporary, place, replaces)
    await syncFolder(parent)
    return isNamed
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

/** Whether the folder names the source, so that it is a copy that another process has just written. */
async function hasCopy({ folder, source }: Place): Promise<boolean> {
  try {
    return sourceSchema.parse(parseJson(await readFile(join(folder, SOURCE), 'utf8'))).source === source
  } catch {
    return false
  }
}

/**
 * Gives a finished copy its name. A folder that has the name is first moved away, and looked at there, since other
 * processes may do the same at the same time.
 * @returns false if another process has been faster
 * @throws RunError if the folder that has the name is not a copy: it belongs to the user
 */
async function giveName(draft: string, temporary: string, place: Place, replaces: boolean): Promise<boolean> {
  const { folder, source } = place
  const move = (from: string, to: string, allowed: readonly string[]) =>
    rename(from, to).then(
      () => true,
      (error: unknown) => {
        if (allowed.includes(errorCode(error) ?? '')) return false
        throw error
      },
    )
  const taken = ['ENOTEMPTY', 'EEXIST']
  for (let attempt = 0; attempt < 3; attempt++) {
    if (await move(draft, folder, taken)) return true
    if (!replaces && (await hasCopy(place))) return false
    const names = await readdir(folder).catch(() => [SOURCE])
    if (!names.includes(SOURCE)) throw new RunError(`${folder} exists, and is not such a copy (move it away)`)
    const moved = join(temporary, `replaced-${attempt}`)
    if (!(await move(folder, moved, ['ENOENT']))) continue
    if (replaces || !(await hasCopy({ folder: moved, source }))) continue
    await move(moved, folder, taken)
    return false
  }
  return false
}
