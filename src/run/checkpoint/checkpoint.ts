/**
 * Checkpoints that can be trusted. A folder `step-00000500` is either whole or was damaged later: it is
 * written under a hidden name, synced, and only then renamed, so a process killed at any instant leaves
 * at least the checkpoints that were there before. Names that occur in the folder of checkpoints:
 *
 *     step-00000500            a checkpoint
 *     step-00000500.replaced   one whose successor of the same step is about to take its place; as good
 *     .step-00000500.writing   one that is being written, or was when the process died
 *     .step-00000500.removed   one that is being removed
 *
 * One process writes at a time (the lock of the run directory sees to it); others may read.
 */
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { NamedTensor } from '../../step/store.ts'
import { errorCode, syncFolder, writeError } from '../../system/disk.ts'
import { writeChecked } from './checked-file.ts'
import { type PlannedFile, planSafetensors, readSafetensors } from './safetensors.ts'
import { STATE, type StateFile, SUMS, verify } from './verify.ts'

export interface CheckpointTensors {
  readonly model: readonly NamedTensor[]
  readonly optimizer: readonly NamedTensor[]
}

export interface Checkpoint {
  readonly step: number
  readonly path: string
  /** What {@link writeCheckpoint} was given. */
  readonly state: unknown
}

const SHARD_BYTES = 4 * 2 ** 30
/** Of reading the newest checkpoint, while newer ones come. */
const MAX_ATTEMPTS = 20

/**
 * Writes the checkpoint of a step into the folder of checkpoints, then removes all but the newest `keep`
 * whole ones up to this step. The tensors must not change meanwhile.
 * @param state JSON without NaN or infinities.
 * @param options.shardBytes Tensors beyond so many bytes are cut into several files.
 * @returns The path of the new checkpoint.
 * @throws RunError when the disk is full or cannot be written; earlier checkpoints are intact then.
 */
export async function writeCheckpoint(
  directory: string,
  step: number,
  tensors: CheckpointTensors,
  state: unknown,
  options: { readonly keep: number; readonly shardBytes?: number },
): Promise<string> {
  const { keep, shardBytes = SHARD_BYTES } = options
  const path = join(directory, folderName(step))
  const writing = join(directory, `.${folderName(step)}.writing`)
  const files = [
    ...planSafetensors('model', tensors.model, shardBytes),
    ...planSafetensors('optimizer', tensors.optimizer, shardBytes),
  ]
  files.push(planState({ step, files: Object.fromEntries(files.map(({ name, bytes }) => [name, bytes])), state }))
  try {
    await mkdir(directory, { recursive: true })
    await syncFolder(dirname(directory))
    await finishInterrupted(directory)
    await mkdir(writing)
    let sums = ''
    for (const file of files) sums += `${await writeChecked(join(writing, file.name), file)}  ${file.name}\n`
    await writeChecked(join(writing, SUMS), planText(SUMS, sums))
    await syncFolder(writing)
    await putInPlace(writing, path)
    await syncFolder(directory)
  } catch (error) {
    await rm(writing, { recursive: true, force: true }).catch(() => undefined)
    const needed = files.reduce((sum, { bytes }) => sum + bytes, 0)
    const advice = 'Earlier checkpoints are intact: make room or mend the disk, then resume the run.'
    throw await writeError(`write checkpoint ${path}`, directory, error, needed, advice)
  }
  // The checkpoint is safe; what cannot be removed now is tried again with the next one.
  await finishInterrupted(directory)
    .then(() => prune(directory, step, keep))
    .catch(() => undefined)
  return path
}

/**
 * The newest checkpoint that is whole, every byte checked; null when there is none.
 * @param onSkip Told of each newer one that is not, with the reason in plain words.
 */
export async function newestCheckpoint(
  directory: string,
  onSkip: (path: string, reason: string) => void,
): Promise<Checkpoint | null> {
  for (const { name, step, kind } of await list(directory)) {
    const path = join(directory, name)
    if (kind === 'writing') onSkip(path, 'it is not finished: it is being written, or its process ended meanwhile')
    if (kind === 'writing' || kind === 'removed') continue
    const verdict = await verify(path, step, 'contents')
    if ('state' in verdict) return { step, path, state: verdict.state }
    onSkip(path, verdict.reason)
  }
  return null
}

/** Folder of the newest checkpoint by its name, unchecked; undefined when there is none. */
export async function newestFolder(directory: string): Promise<string | undefined> {
  const [newest] = await finished(directory)
  return newest && join(directory, newest)
}

/**
 * The newest checkpoint that is whole, read into the views; null when there is none. A training that goes on may remove
 * it while it is read; then it has written another, which is read in its place.
 * @param tensors See {@link readCheckpoint}.
 * @param onSkip See {@link newestCheckpoint}.
 */
export async function readNewestCheckpoint(
  directory: string,
  tensors: Parameters<typeof readCheckpoint>[1],
  onSkip: (path: string, reason: string) => void,
): Promise<Checkpoint | null> {
  for (let attempt = 1; ; attempt++) {
    // All of them: beside a newer one that is damaged, those that a training writes are never the newest by name.
    const before = await finished(directory)
    const hasMovedOn = async () => attempt < MAX_ATTEMPTS && (await finished(directory)).join() !== before.join()
    const skipped: (readonly [path: string, reason: string])[] = []
    try {
      const found = await newestCheckpoint(directory, (...skip) => skipped.push(skip))
      if (found) await readCheckpoint(found.path, tensors)
      if (!found && (await hasMovedOn())) continue
      for (const skip of skipped) onSkip(...skip)
      return found
    } catch (error) {
      if (!(await hasMovedOn())) throw error
    }
  }
}

/**
 * Reads a checkpoint into the views, by name.
 * @param tensors Without `optimizer` only the model is read.
 * @throws RunError naming a tensor that is missing, extra or of another shape.
 */
export async function readCheckpoint(
  path: string,
  tensors: CheckpointTensors | Pick<CheckpointTensors, 'model'>,
): Promise<void> {
  await readSafetensors(path, 'model', tensors.model)
  if ('optimizer' in tensors) await readSafetensors(path, 'optimizer', tensors.optimizer)
}

function folderName(step: number): string {
  return `step-${String(step).padStart(8, '0')}`
}

function planText(name: string, text: string): PlannedFile {
  const bytes = Buffer.from(text)
  return { name, bytes: bytes.length, pieces: [bytes] }
}

function planState(file: StateFile): PlannedFile {
  const text = JSON.stringify(file, (key, value: unknown) => {
    // JSON would make it null, and the resumed run another run.
    if (typeof value === 'number' && !Number.isFinite(value))
      throw new Error(`internal: checkpoint state has ${key}: ${value}`)
    return value
  })
  return planText(STATE, `${text}\n`)
}

type Kind = 'final' | 'replaced' | 'writing' | 'removed'

/** What lies in the folder of checkpoints, newest first, of the same step the final one first. */
async function list(directory: string): Promise<{ name: string; step: number; kind: Kind }[]> {
  const names = await readdir(directory).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return []
    throw error
  })
  const found = names.flatMap((name) => {
    const [, step, kind = 'final'] =
      /^step-(\d{8,})(?:\.(replaced))?$/.exec(name) ?? /^\.step-(\d{8,})\.(writing|removed)$/.exec(name) ?? []
    return step === undefined ? [] : [{ name, step: Number(step), kind: kind as Kind }]
  })
  return found.sort((a, b) => b.step - a.step || Number(b.kind === 'final') - Number(a.kind === 'final'))
}

/** Names of the checkpoints that were written to the end, newest first. */
async function finished(directory: string): Promise<string[]> {
  const found = await list(directory)
  return found.filter(({ kind }) => kind === 'final' || kind === 'replaced').map(({ name }) => name)
}

/** Finishes what a killed process left: unfinished writes, removals and replacements. */
async function finishInterrupted(directory: string): Promise<void> {
  const found = await list(directory)
  for (const { name, step, kind } of found) {
    const path = join(directory, name)
    if (kind === 'writing' || kind === 'removed') await rm(path, { recursive: true, force: true })
    if (kind !== 'replaced') continue
    const isReplaced = found.some((other) => other.step === step && other.kind === 'final')
    if (isReplaced) await remove(directory, step, path)
    else await rename(path, join(directory, folderName(step)))
  }
}

/**
 * Renames the finished folder to its final name. One of the same step that stands there is as good under
 * its other name until {@link finishInterrupted} removes it.
 */
async function putInPlace(writing: string, path: string): Promise<void> {
  await rename(path, `${path}.replaced`).catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw error
  })
  await rename(writing, path)
}

async function prune(directory: string, step: number, keep: number): Promise<void> {
  let whole = 0
  for (const found of await list(directory)) {
    // Newer ones are damaged ones that were skipped at the start: not ours to remove, nor to count on.
    if (found.kind !== 'final' || found.step > step) continue
    const path = join(directory, found.name)
    if (whole >= keep) await remove(directory, found.step, path)
    else if ('state' in (await verify(path, found.step, 'sizes'))) whole++
  }
}

/** Hides a checkpoint before it goes, so that half a one is never seen under its name. */
async function remove(directory: string, step: number, path: string): Promise<void> {
  const hidden = join(directory, `.${folderName(step)}.removed`)
  await rename(path, hidden)
  await rm(hidden, { recursive: true, force: true })
}
