/**
 * A folder such as `choir-int8` beside the files of a large model, with its weights as they are in memory after rounding,
 * so that they are rounded only once. `source.json` names the state of the files from which they were made, and how they
 * were rounded: if one of these changes, or one byte of the copy does, the weights are rounded again. The copy is a
 * convenience: whatever prevents it is reported, and the model is used without it.
 */
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { RunError } from '../../core/errors.ts'
import { sha256 } from '../../core/sha256.ts'
import { bytes } from '../../core/text/numbers.ts'
import { version } from '../../core/version.ts'
import { errorCode, freeBytes, syncFolder } from '../../node/system/disk.ts'
import { makeTemporaryFolder, sweepLeftovers } from '../../node/system/temporary-folders.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import type { NamedTensor } from '../../train/step/store/named-tensors.ts'
import type { QuantizedStore } from '../infer/quantized/quantized-store.ts'
import { roundedSample } from '../infer/quantized/round-matrix.ts'
import { bitsOf } from '../infer/quantized/weight-format.ts'
import { copyBytes, readCopyFiles, SOURCE, sourceIn, writeCopyFiles } from './rounded-files.ts'

/** Smaller models are rounded in less than a second. */
const MIN_BYTES = 2 ** 26
/** Bytes that a copy leaves free on the disk. */
const RESERVE_BYTES = 2 ** 30

/** The files of a model that is not a run. */
export interface ModelFiles {
  /** Path of the folder of a copy without the format at its end, such as `MODEL/choir-`. */
  readonly copies: string
  /** A hash that changes when a file does. */
  state(): Promise<string>
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
  if (!copy || store.byteLength < leastBytes) return load(store.tensors())
  const place: Place = { folder: `${files.copies}${store.format}`, source: await sourceOf(files, store) }
  const state = await readCopy(place, store, onMessage, signal)
  if (state === 'intact') return load([])
  const loaded = await load(store.tensors())
  const notice = (message: string) => onMessage({ kind: 'notice', message })
  try {
    const size = copyBytes(store.images)
    const problem = await problemOf(place, files, store, size + reserveBytes)
    if (problem !== null) notice(`the rounded weights are not kept: ${problem} (the next start rounds them again)`)
    else if (await writeCopy(place, store, state === 'damaged', signal))
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

/** Hash of all that decides the bytes of a copy: the files, the rounding of this version of Choir, and its memory. */
const sourceOf = async (files: ModelFiles, store: QuantizedStore): Promise<string> =>
  sha256(JSON.stringify([version(), [...roundedSample(bitsOf[store.format])], store.places(), await files.state()]))

/** The reason why no copy can be written; null if it can be. @param needed Bytes that must be free. */
async function problemOf(
  { folder, source }: Place,
  files: ModelFiles,
  store: QuantizedStore,
  needed: number,
): Promise<string | null> {
  if ((await sourceOf(files, store)) !== source) return 'a file of the model has changed since it was read'
  const free = await freeBytes(dirname(folder))
  if (free === undefined || free >= needed) return null
  return `${folder} needs ${bytes(needed)}, with what must stay free, and the disk has ${bytes(free)}`
}

async function readCopy(
  { folder, source }: Place,
  store: QuantizedStore,
  onMessage: OnMessage,
  signal: AbortSignal | undefined,
): Promise<'intact' | 'none' | 'damaged'> {
  try {
    return (await readCopyFiles(folder, source, store.images, signal)) ? 'intact' : 'none'
  } catch (error) {
    signal?.throwIfAborted()
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
  store: QuantizedStore,
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
    await writeCopyFiles(draft, source, store.images, signal)
    const isNamed = await giveName(draft, temporary, place, replaces)
    await syncFolder(parent)
    return isNamed
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

/** Whether the folder names the source, so that it is a copy that another process has just written. */
const hasCopy = async ({ folder, source }: Place): Promise<boolean> => (await sourceIn(folder)) === source

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
