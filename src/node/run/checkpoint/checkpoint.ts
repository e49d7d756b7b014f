/**
 * Checkpoints that survive crashes. A checkpoint is written under a hidden name, synced, and only then
 * renamed. So a folder `step-00000500` is complete unless it was damaged later, and a process killed at any
 * instant leaves the earlier checkpoints. Names in the folder of checkpoints:
 *
 *     step-00000500            a checkpoint
 *     step-00000500.replaced   a checkpoint that a new one of the same step is about to replace; still valid
 *     .step-00000500.writing   a checkpoint that is being written, or was when the process died
 *     .step-00000500.removed   a checkpoint that is being removed
 *     step-00000500.aside      a checkpoint that nothing reads any more: its run was continued from an earlier one, or
 *                              it was damaged while the checkpoint that it had replaced was still there
 *
 * One process writes at a time (ensured by the lock of the run directory); other processes may read.
 */
import { mkdir, readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { RunError, UsageError } from '../../../core/errors.ts'
import { gatherJson, type Ranks } from '../../../engine/contract/ranks.ts'
import { fromFirst, together } from '../../../train/run/agreement.ts'
import {
  type CheckpointTensors,
  checkState,
  folderName,
  parseStateFile,
  STATE,
  writeAll,
  writeDescription,
} from '../../../train/run/checkpoint/description.ts'
import type { Expected } from '../../../train/run/checkpoint/read-safetensors.ts'
import { type OutputFile, shardFiles, shardsOf, storedTensors } from '../../../train/run/checkpoint/safetensors.ts'
import type { NamedTensor } from '../../../train/step/store/named-tensors.ts'
import { errorCode, removeEmptyFolders, syncFolder, writeError } from '../../system/disk.ts'
import { NotFinite, writeChecked } from './checked-file.ts'
import { finished, finishInterrupted, list, prune, putInPlace } from './folder.ts'
import { readSafetensors } from './tensor-files.ts'
import { verifyFolder } from './verify-folder.ts'

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
 * @param tensors Tensors that this rank owns.
 * @param state JSON without NaN or infinities.
 * @param options.spared Step of a checkpoint that stays in addition to the newest ones.
 * @param options.shardBytes Maximum bytes of tensors per file.
 * @param options.ranks Ranks that write their tensors at the same time, into the same folder; all of them call this.
 * @returns The path of the new checkpoint.
 * @throws RunError if the disk is full or not writable, or a parameter is not finite; earlier checkpoints stay intact.
 */
export async function writeCheckpoint(
  directory: string,
  step: number,
  tensors: CheckpointTensors,
  state: unknown,
  options: {
    readonly keep: number
    readonly spared?: number | null
    readonly shardBytes?: number
    readonly ranks?: Ranks | null
  },
): Promise<string> {
  const { keep, spared = null, shardBytes = SHARD_BYTES, ranks = null } = options
  const isFirst = (ranks?.rank ?? 0) === 0
  const path = join(directory, folderName(step))
  const writing = join(directory, `.${folderName(step)}.writing`)
  const model = await filesOfRank('model', tensors.model, shardBytes, ranks)
  const optimizer = await filesOfRank('optimizer', tensors.optimizer, shardBytes, ranks)
  const write = (file: OutputFile) => writeChecked(join(writing, file.name), file)
  const needed = [...model, ...optimizer].reduce((sum, { bytes }) => sum + bytes, 0)
  const readable = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      if (error instanceof RunError) throw error
      if (error instanceof NotFinite)
        throw new RunError(
          `no checkpoint of step ${step} is written: ${error.message}, and a training cannot continue from them. Earlier ` +
            'checkpoints are intact: lower train.schedule.learningRate and resume the run from one of them ' +
            '(choir train --resume RUN --checkpoint STEP)',
        )
      const advice = 'Earlier checkpoints are intact: free space or repair the disk, then resume the run.'
      throw await writeError(`write checkpoint ${path}`, directory, error, needed, advice)
    }
  }
  try {
    await fromFirst(ranks, () => readable(() => begin(directory, writing, state)))
    const written = await together(ranks, () =>
      readable(async () => ({ model: await writeAll(model, write), optimizer: await writeAll(optimizer, write) })),
    )
    const all = await gatherJson(ranks, written)
    await fromFirst(ranks, () =>
      readable(async () => {
        await writeDescription(step, all, state, write)
        await syncFolder(writing)
        await putInPlace(writing, path)
        await syncFolder(directory)
        return null
      }),
    )
  } catch (error) {
    // No rank writes any more, since they fail together.
    if (isFirst) {
      await rm(writing, { recursive: true, force: true }).catch(() => undefined)
      // The folder may not stay empty: then it would count as one that has lost its checkpoints.
      await removeEmptyFolders([directory])
    }
    throw error
  }
  // The checkpoint is safe; a removal that fails now is retried with the next one.
  if (isFirst)
    await finishInterrupted(directory)
      .then(() => prune(directory, step, keep, spared))
      .catch(() => undefined)
  await ranks?.gatherText('')
  return path
}

/** Makes the folder of a new checkpoint. */
async function begin(directory: string, writing: string, state: unknown): Promise<null> {
  checkState(state)
  // The parent is not created: a run directory that was removed lacks more than checkpoints.
  await mkdir(directory).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT')
      throw new RunError(`cannot write checkpoint into ${dirname(directory)}: it was removed, or is no longer mounted`)
    if (errorCode(error) !== 'EEXIST') throw error
  })
  await finishInterrupted(directory)
  // This follows at once, because an empty folder counts as one that has lost its checkpoints.
  await mkdir(writing)
  await syncFolder(dirname(directory))
  return null
}

/** The files of this rank's tensors. The files of all ranks are numbered consecutively. */
async function filesOfRank(
  stem: 'model' | 'optimizer',
  tensors: readonly NamedTensor[],
  shardBytes: number,
  ranks: Ranks | null,
): Promise<OutputFile[]> {
  const shards = ranks && tensors.length === 0 ? [] : shardsOf(storedTensors(tensors, stem === 'model'), shardBytes)
  const counts = await gatherJson(ranks, shards.length)
  const before = counts.slice(0, ranks?.rank ?? 0)
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
  return shardFiles(stem, shards, { first: sum(before), count: sum(counts) })
}

export interface CheckOptions {
  /** Default: every byte is checked. See {@link verify}. */
  readonly depth?: 'sizes' | 'contents'
  /** Signal that ends the reading; its reason is thrown. */
  readonly signal?: AbortSignal | undefined
}

/**
 * The newest intact checkpoint; null if there is none.
 * @param onSkip Called for each newer checkpoint that is not intact, with the reason.
 */
export async function newestCheckpoint(
  directory: string,
  onSkip: (path: string, reason: string) => void,
  { depth = 'contents', signal }: CheckOptions = {},
): Promise<Checkpoint | null> {
  for (const { name, step, kind } of await list(directory)) {
    const path = join(directory, name)
    if (kind === 'writing') onSkip(path, 'it is incomplete: it is being written, or the process that wrote it ended')
    if (kind === 'writing' || kind === 'removed') continue
    const verdict = await verifyFolder(path, step, depth, signal)
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
 * Reads the newest intact checkpoint into the tensors; null if there is none. If a running training removes it
 * meanwhile, the training has written a newer one, which is read instead.
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
 * The checkpoint of a step; null if there are no checkpoints at all.
 * @throws UsageError if this step has no checkpoint, listing the steps that have one; RunError if it is damaged
 */
export async function checkpointOf(
  directory: string,
  step: number,
  { depth = 'contents', signal }: CheckOptions = {},
): Promise<Checkpoint | null> {
  const names = await finished(directory)
  if (names.length === 0) return null
  const name = names.find((candidate) => stepOf(candidate) === step)
  if (name === undefined) {
    const steps = (await checkpointSteps(directory)).join(', ')
    throw new UsageError(`invalid checkpoint: ${step} (${dirname(directory)} has those of steps ${steps})`)
  }
  const path = join(directory, name)
  const verdict = await verifyFolder(path, step, depth, signal)
  if ('reason' in verdict) throw new RunError(`checkpoint ${path} is damaged: ${verdict.reason}`)
  return { step, path, state: verdict.state }
}

const stepOf = (name: string): number => Number(/\d+/.exec(name)?.[0])

/** Steps that have a checkpoint, in rising order. The checkpoints are not verified. */
export const checkpointSteps = async (directory: string): Promise<number[]> =>
  [...new Set((await finished(directory)).map(stepOf))].reverse()

/**
 * Reads the checkpoint of a step into the tensors; null if there are no checkpoints at all.
 * @param tensors See {@link readCheckpoint}.
 * @throws The errors of {@link checkpointOf} and {@link readCheckpoint}
 */
export async function readCheckpointOf(
  directory: string,
  step: number,
  tensors: Parameters<typeof readCheckpoint>[1],
): Promise<Checkpoint | null> {
  const found = await checkpointOf(directory, step)
  if (found) await readCheckpoint(found.path, tensors)
  return found
}

/**
 * Reads a checkpoint into the tensors by name.
 * @param tensors Tensors to fill. Without `optimizer` only the model is read.
 * @param options.elsewhere Names of tensors that the checkpoint must have too, and that other ranks read.
 * @param options.signal Signal that ends the reading; its reason is thrown.
 * @throws RunError naming a tensor that is missing, extra, there twice, of another shape, or of another checkpoint
 */
export async function readCheckpoint(
  path: string,
  tensors: CheckpointTensors | Pick<CheckpointTensors, 'model'>,
  options: Pick<Expected, 'elsewhere' | 'signal'> = {},
): Promise<void> {
  const { census = {} } = parseStateFile(await readFile(join(path, STATE), 'utf8'))
  const expected = { ...options, census, finite: true }
  await readSafetensors(path, 'model', tensors.model, { ...expected, widens: true })
  if ('optimizer' in tensors) await readSafetensors(path, 'optimizer', tensors.optimizer, expected)
}
