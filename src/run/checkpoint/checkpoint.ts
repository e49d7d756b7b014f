/**
 * Checkpoints that survive crashes. A checkpoint is written under a hidden name, synced, and only then
 * renamed. So a folder `step-00000500` is complete unless it was damaged later, and a process killed at any
 * instant leaves the earlier checkpoints. Names in the folder of checkpoints:
 *
 *     step-00000500            a checkpoint
 *     step-00000500.replaced   a checkpoint that a new one of the same step is about to replace; still valid
 *     .step-00000500.writing   a checkpoint that is being written, or was when the process died
 *     .step-00000500.removed   a checkpoint that is being removed
 *
 * One process writes at a time (ensured by the lock of the run directory); others may read.
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
  /** The state given to {@link writeCheckpoint}. */
  readonly state: unknown
}

const SHARD_BYTES = 4 * 2 ** 30
/** Attempts at reading the newest checkpoint while a training writes newer ones. */
const MAX_ATTEMPTS = 20

/**
 * Writes the checkpoint of a step into the folder of checkpoints, then removes all but the newest `keep`
 * intact ones up to this step. The tensors must not change meanwhile.
 * @param state JSON without NaN or infinities.
 * @param options.shardBytes Maximum bytes of tensors per file.
 * @returns The path of the new checkpoint.
 * @throws RunError if the disk is full or not writable; earlier checkpoints stay intact.
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
    const advice = 'Earlier checkpoints are intact: free space or repair the disk, then resume the run.'
    throw await writeError(`write checkpoint ${path}`, directory, error, needed, advice)
  }
  // The checkpoint is safe; a removal that fails now is retried with the next one.
  await finishInterrupted(directory)
    .then(() => prune(directory, step, keep))
    .catch(() => undefined)
  return path
}

/**
 * The newest intact checkpoint, every byte checked; null if there is none.
 * @param onSkip Called for each newer checkpoint that is not intact, with the reason.
 */
export async function newestCheckpoint(
  directory: string,
  onSkip: (path: string, reason: string) => void,
): Promise<Checkpoint | null> {
  for (const { name, step, kind } of await list(directory)) {
    const path = join(directory, name)
    if (kind === 'writing') onSkip(path, 'it is incomplete: it is being written, or the process that wrote it ended')
    if (kind === 'writing' || kind === 'removed') continue
    const verdict = await verify(path, step, 'contents')
    if ('state' in verdict) return { step, path, state: verdict.state }
    onSkip(path, verdict.reason)
  }
  return null
}

/** Folder of the newest checkpoint by name, not verified; undefined if there is none. */
export async function newestFolder(directory: string): Promise<string | undefined> {
  const [newest] = await finished(directory)
  return newest && join(directory, newest)
}

/**
 * Reads the newest intact checkpoint into the views; null if there is none. A running training may remove it meanwhile;
 * then it has written a newer one, which is read instead.
 * @param tensors See {@link readCheckpoint}.
 * @param onSkip See {@link newestCheckpoint}.
 */
export async function readNewestCheckpoint(
  directory: string,
  tensors: Parameters<typeof readCheckpoint>[1],
  onSkip: (path: string, reason: string) => void,
): Promise<Checkpoint | null> {
  for (let attempt = 1; ; attempt++) {
    // Compare all names, not just the newest: if the newest by name is damaged, new checkpoints may sort before it.
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
 * Reads a checkpoint into the views by tensor name.
 * @param tensors Without `optimizer` only the model is read.
 * @throws RunError naming a tensor that is missing, extra or of another shape
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
    // JSON would store null, which would silently change the resumed run.
    if (typeof value === 'number' && !Number.isFinite(value))
      throw new Error(`internal: checkpoint state has ${key}: ${value}`)
    return value
  })
  return planText(STATE, `${text}\n`)
}

type Kind = 'final' | 'replaced' | 'writing' | 'removed'

/** Entries of the folder of checkpoints, newest first; of the same step, the final one first. */
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

/** Names of the completely written checkpoints, newest first. */
async function finished(directory: string): Promise<string[]> {
  const found = await list(directory)
  return found.filter(({ kind }) => kind === 'final' || kind === 'replaced').map(({ name }) => name)
}

/** Cleans up after a killed process: unfinished writes, removals and replacements. */
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
 * Renames the finished folder to its final name. An existing checkpoint of the same step stays valid under
 * its `.replaced` name until {@link finishInterrupted} removes it.
 */
async function putInPlace(writing: string, path: string): Promise<void> {
  await rename(path, `${path}.replaced`).catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw error
  })
  await rename(writing, path)
}

async function prune(directory: string, step: number, keep: number): Promise<void> {
  let intact = 0
  for (const found of await list(directory)) {
    // Newer checkpoints are damaged ones that were skipped at the start: neither remove nor count them.
    if (found.kind !== 'final' || found.step > step) continue
    const path = join(directory, found.name)
    if (intact >= keep) await remove(directory, found.step, path)
    else if ('state' in (await verify(path, found.step, 'sizes'))) intact++
  }
}

/** Renames a checkpoint before removing it, so that a partial one is never seen under its name. */
async function remove(directory: string, step: number, path: string): Promise<void> {
  const hidden = join(directory, `.${folderName(step)}.removed`)
  await rename(path, hidden)
  await rm(hidden, { recursive: true, force: true })
}
