/**
 * A folder such as `choir-int8` in the folder of a large model, with its weights as they are in memory after
 * rounding, so that they are rounded only once. `source.json` names the files from which they were made: if those change,
 * or one byte of the copy does, the weights are rounded again.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { RunError } from '../../core/errors.ts'
import { parseJson } from '../../core/text/json.ts'
import { bytes } from '../../core/text/numbers.ts'
import { writeChecked } from '../../node/run/checkpoint/checked-file.ts'
import { readSafetensors } from '../../node/run/checkpoint/tensor-files.ts'
import { errorCode, syncFolder } from '../../node/system/disk.ts'
import { makeTemporaryFolder } from '../../node/system/temporary-folders.ts'
import { shardFiles } from '../../train/run/checkpoint/safetensors.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import type { NamedTensor } from '../../train/step/named-tensors.ts'
import type { QuantizedStore } from '../infer/quantized/quantized-store.ts'

/** Smaller models are rounded in less than a second. */
const MIN_BYTES = 2 ** 26
const STEM = 'model'
const SOURCE = 'source.json'
/** Version of the layout of quantized weights. */
const FORMAT = 1

const sourceSchema = z.object({
  format: z.literal(FORMAT),
  source: z.string(),
  /** SHA-256 of the tensors, by name. */
  tensors: z.record(z.string(), z.string()),
})

export interface RoundedOptions {
  /** Names the files from which the weights are made, and their state. */
  readonly source: string
  readonly onMessage: OnMessage
  /** Bytes of the store from which on a copy is kept; default: 64 MiB. */
  readonly leastBytes?: number
}

/**
 * Fills a store: from the copy in the folder if there is one, otherwise by `load`, which writes the float32 tensors that
 * the store rounds; then the copy is written. A folder that cannot be written is no error.
 * @param load Loads what else the model needs; without tensors, their files are only compared with the model.
 */
export async function loadRounded<T>(
  folder: string,
  store: QuantizedStore,
  load: (tensors: readonly NamedTensor[]) => Promise<T>,
  { source, onMessage, leastBytes = MIN_BYTES }: RoundedOptions,
): Promise<T> {
  if (store.byteLength < leastBytes) return load(store.tensors())
  const name = `choir-${store.format}`
  const stored = store.storedTensors()
  if (await readCopy(join(folder, name), source, stored, onMessage)) return load([])
  const loaded = await load(store.tensors())
  const size = stored.reduce((sum, { range }) => sum + 4 * range.count, 0)
  try {
    await writeCopy(folder, name, source, stored)
    onMessage({
      kind: 'notice',
      message: `wrote the rounded weights to ${join(folder, name)} (${bytes(size)}), so that the model loads faster; the folder can be removed`,
    })
  } catch (error) {
    onMessage({
      kind: 'notice',
      message: `cannot write the rounded weights to ${join(folder, name)}: ${(error as Error).message} (the next start rounds them again)`,
    })
  }
  return loaded
}

async function readCopy(
  folder: string,
  source: string,
  tensors: readonly NamedTensor[],
  onMessage: OnMessage,
): Promise<boolean> {
  try {
    const description = sourceSchema.safeParse(parseJson(await readFile(join(folder, SOURCE), 'utf8')))
    if (!description.success || description.data.source !== source) return false
    await readSafetensors(folder, STEM, tensors, { census: description.data.tensors })
    return true
  } catch (error) {
    if (errorCode(error) !== 'ENOENT')
      onMessage({ kind: 'warning', message: `rounding the weights again: ${(error as Error).message}` })
    return false
  }
}

/** Writes the copy into a folder of its own, and then gives it its name. */
async function writeCopy(parent: string, name: string, source: string, tensors: readonly NamedTensor[]): Promise<void> {
  const temporary = await makeTemporaryFolder(parent, 'building')
  try {
    const draft = join(temporary, name)
    await mkdir(draft)
    const census: Record<string, string> = {}
    for (const file of shardFiles(STEM, [tensors])) {
      const { tensors: sums } = await writeChecked(join(draft, file.name), file)
      Object.assign(census, sums)
    }
    await writeFile(join(draft, SOURCE), JSON.stringify({ format: FORMAT, source, tensors: census }), { flush: true })
    await syncFolder(draft)
    await removeCopy(join(parent, name))
    await rename(draft, join(parent, name))
    await syncFolder(parent)
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

/** Removes an older copy. @throws RunError for anything else of its name: the folder belongs to the user */
async function removeCopy(folder: string): Promise<void> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return null
    throw error
  })
  if (names === null) return
  if (!names.includes(SOURCE)) throw new RunError(`${folder} exists, and is not such a copy (move it away)`)
  await rm(folder, { recursive: true, force: true })
}
