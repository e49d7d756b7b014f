/**
 * A run on disk: its files, exclusive access to them, and resuming, after which the files read as if the
 * run had never stopped. The logs, to which records are appended, are in `run-logs.ts`.
 *
 *     config.json                 the full configuration, Choir's version, time of creation, later changes, and the
 *                                 origin of the first weights, if they come from another run
 *     tokenizer.json              Hugging Face format
 *     generation.json             if its first weights are those of an imported model: rules for texts (text-rules.ts)
 *     metrics.jsonl               one line per step and per evaluation, with several ranks a second line per step
 *     routing.jsonl               per-layer, per-expert statistics
 *     ledger.jsonl                with `parallel.ledger`: what ranks send to each other for experts
 *     events.out.tfevents.*       for TensorBoard: scalars of metrics.jsonl; a file per process
 *     checkpoints/                see checkpoint/checkpoint.ts
 *     engine.json                 the libraries that compute the run, or the GPU and its driver
 *     ranks.json, failure.json    files of a training on several ranks: see ranks/files.ts
 *     *.jsonl.damaged             logs from before lines that could not be read were taken out (rewind-log.ts)
 */
import { readdir, readFile, rm, rmdir } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { Difference } from '../../core/config/differences.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import { option, RunError, UsageError, wording } from '../../core/errors.ts'
import { grouped } from '../../core/text/numbers.ts'
import { quoted } from '../../core/text/shell.ts'
import { version } from '../../core/version.ts'
import { isMovable } from '../../train/run/resume-settings.ts'
import { decayStart } from '../../train/step/optimizer/schedule.ts'
import { errorCode, makeFolder, removeEmptyFolders, replaceFile, syncFolder } from '../system/disk.ts'
import { LOCK_FILE, lockRun, type RunLock } from '../system/lock.ts'
import { JSON_BYTES, readText } from '../system/read-text.ts'
import { refuseFolders, refuseLinks } from '../system/special-files.ts'
import { allowedChanges, scheduleWarning } from './changed-settings.ts'
import { loadRunConfig } from './load-config.ts'
import { OccupiedDirectory } from './occupied-directory.ts'
import { pluginCopies } from './plugins/plugins.ts'
import { removeRankFiles } from './ranks/files.ts'
import { lastStep } from './rewind-log.ts'
import { logFile, logNames, RunLogs } from './run-logs.ts'
import { refuseLaterStep } from './steps-left.ts'
import { GENERATION } from './tokenizer-file.ts'
import type { WeightsSource } from './weights-source.ts'

/** The folder of checkpoints of a run. */
export const checkpointsOf = (directory: string): string => join(directory, 'checkpoints')

const CONFIG = 'config.json'
const TOKENIZER = 'tokenizer.json'

/** A run directory that is locked and written by this process. */
export class RunDirectory {
  readonly path: string
  /** The folder of checkpoints. */
  readonly checkpoints: string
  readonly logs: RunLogs
  private readonly lock: RunLock
  private readonly isResumed: boolean
  private readonly config: RunConfig
  /** Settings that a resumed run changes. */
  private readonly changes: readonly Difference[]
  /** The folders that a new run created: its own folder and missing folders around it. */
  private readonly created: readonly string[]
  /** Files besides the logs that a new run has written, in order. */
  private readonly written = new Set<string>()
  private isDiscarded = false

  private constructor(
    path: string,
    lock: RunLock,
    config: RunConfig,
    changes: readonly Difference[] | null,
    created: readonly string[],
  ) {
    this.path = path
    this.checkpoints = checkpointsOf(path)
    this.lock = lock
    this.created = created
    this.isResumed = changes !== null
    this.config = config
    this.changes = changes ?? []
    this.logs = new RunLogs(path, config, this.isResumed)
  }

  /**
   * Creates a run directory, or with `resume` opens an existing one; {@link adopt} then records changed settings.
   * @param weights Weights of another run, with which a new run begins. The new run takes over their tokenizer.
   * @param checkpoint Step of the checkpoint that is resumed; undefined for the newest.
   * @throws UsageError if the directory contains other files; if it contains a run and `resume` is false; if the
   *   results of its run come from another configuration (all differing fields are listed); or if the checkpoint that is
   *   resumed is of a later step than the last
   * @throws RunError if another process trains in it, or it cannot be written
   */
  static async open(
    directory: string,
    config: RunConfig,
    resume: boolean,
    weights: WeightsSource | null = null,
    checkpoint?: number,
  ): Promise<RunDirectory> {
    // Check first: nothing may be created or locked in a directory that is not a run.
    if (resume) await loadRunConfig(directory)
    else await refuseOccupied(directory)
    const created = resume ? [] : await createFolder(directory)
    let lock: RunLock | undefined
    let run: RunDirectory | undefined
    try {
      lock = await lockRun(directory)
      if (resume) {
        await refuseLinks(directory)
        await refuseFolders(directory, ['engine.json', ...logNames.map((name) => `${name}.jsonl`)])
        const changes = await allowedChanges(directory, config)
        await refuseLaterStep(directory, checkpointsOf(directory), checkpoint, config)
        // The files belong to an earlier job.
        await removeRankFiles(directory)
        return new RunDirectory(directory, lock, config, changes, created)
      }
      await refuseOccupied(directory)
      run = new RunDirectory(directory, lock, config, null, created)
      // The tokenizer comes before config.json: a run with a config.json and no tokenizer yet would make its own.
      if (weights) await run.write(TOKENIZER, weights.tokenizer)
      if (weights?.rules) await run.write(GENERATION, jsonText(weights.rules))
      const from = weights && { from: weights.origin }
      const facts = { version: version(), created: new Date().toISOString(), ...from }
      await run.write(CONFIG, jsonText({ ...facts, ...config }))
      for (const { name, text } of pluginCopies(config)) await run.write(name, text)
      return run
    } catch (error) {
      await run?.removeWritten()
      await lock?.release()
      await removeEmptyFolders(created)
      throw error
    }
  }

  /** Writes a small file of the run, atomically. */
  async write(name: string, contents: string): Promise<void> {
    if (!this.isResumed) this.written.add(name)
    await replaceFile(join(this.path, name), contents)
  }

  /**
   * Records the changed settings of a resumed run in config.json.
   * @param isSameText Whether the text was compared with the text of a checkpoint.
   * @throws UsageError if the path of the text changed and the text was not compared
   */
  async adopt(isSameText: boolean): Promise<void> {
    const { changes, path, config } = this
    if (changes.length === 0) return
    const moved = isSameText ? undefined : changes.find(({ field }) => isMovable(field))
    if (moved)
      throw new UsageError(
        `invalid ${moved.field}: ${path} has no checkpoint yet, so it is not known whether this is what it trains on ` +
          '(start a new run, or resume with the path that it had)',
      )
    const stored = JSON.parse(await readFile(join(path, CONFIG), 'utf8')) as { changes?: unknown[] }
    const time = new Date().toISOString()
    const dated = changes.map((change) => ({ time, ...change }))
    for (const { name, text } of pluginCopies(config)) await this.write(name, text)
    await this.write(CONFIG, jsonText({ ...stored, ...config, changes: [...(stored.changes ?? []), ...dated] }))
  }

  /**
   * Checks a run in which no checkpoint was found.
   * @throws RunError if the run had checkpoints: it would begin again at the first step, and lose its logs
   */
  async refuseLostCheckpoints(): Promise<void> {
    const logged = await lastStep(logFile(this.path, 'metrics'))
    if (logged === 0) return
    const names = await readdir(this.checkpoints).catch((error: unknown) => {
      if (errorCode(error) === 'ENOENT') return null
      throw new RunError(`cannot read ${this.checkpoints}: ${(error as Error).message}`)
    })
    const { train } = await loadRunConfig(this.path)
    const first = Math.min(train.checkpointEvery, decayStart(train) ?? train.steps)
    if (names?.length !== 0 && logged <= first) return
    throw new RunError(
      `run ${this.path} was trained to step ${grouped(logged)}, but its checkpoints are gone: is a disk not mounted at ` +
        `${this.checkpoints}? (restore them, or ${beginAgain(this.path)})`,
    )
  }

  /** The {@link scheduleWarning} for resuming the run at a step. */
  warningAt(step: number): string | null {
    return scheduleWarning(this.path, this.changes, this.config, step)
  }

  /** The run's tokenizer.json; null if there is none yet. */
  async tokenizer(): Promise<string | null> {
    try {
      return await readText(this.tokenizerFile, JSON_BYTES)
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return null
      throw new RunError(`cannot read ${this.tokenizerFile}: ${(error as Error).message}`)
    }
  }

  async saveTokenizer(json: string): Promise<void> {
    await this.write(TOKENIZER, json)
  }

  private get tokenizerFile(): string {
    return join(this.path, TOKENIZER)
  }

  /**
   * Lets {@link close} remove a new run that failed before its first step, so that a corrected run can use the
   * directory. A run that has records or a checkpoint stays.
   */
  discard(): void {
    this.isDiscarded = !this.isResumed && !this.logs.hasRecords
  }

  /** Writes queued records and unlocks the directory, even if writing fails. */
  async close(): Promise<void> {
    try {
      await this.logs.close()
    } finally {
      const isRemoved = this.isDiscarded && (await this.removeRun())
      await this.lock.release()
      if (isRemoved) await removeEmptyFolders(this.created)
    }
  }

  /** Removes the files of a run without records, unless it has a checkpoint. Returns whether they were removed. */
  private async removeRun(): Promise<boolean> {
    try {
      await rmdir(this.checkpoints)
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') return false
    }
    await this.logs.remove()
    await this.removeWritten()
    return true
  }

  /** Removes the files of {@link write}, config.json last, so that a process killed meanwhile leaves a valid run. */
  private async removeWritten(): Promise<void> {
    const names = [...this.written].sort((a, b) => Number(a === CONFIG) - Number(b === CONFIG))
    for (const name of names) await rm(join(this.path, name), { force: true })
  }
}

/** Advice for a run that cannot be continued. */
export const beginAgain = (directory: string): string =>
  `begin again in another folder: choir train ${quoted(join(directory, CONFIG))} --out NEW`

/** Whether a folder is that of a run: its config.json is one of Choir. */
export const isRunDirectory = (directory: string): Promise<boolean> =>
  loadRunConfig(directory).then(
    () => true,
    () => false,
  )

async function refuseOccupied(directory: string): Promise<void> {
  const names = await readdir(directory).catch((error: unknown): string[] => {
    if (errorCode(error) === 'ENOENT') return []
    if (errorCode(error) === 'ENOTDIR')
      throw new UsageError(`invalid run directory: "${directory}" is a file (expected a new or empty directory)`)
    throw new RunError(`cannot read ${directory}: ${(error as Error).message}`)
  })
  if (names.includes(CONFIG) && (await isRunDirectory(directory)))
    throw new OccupiedDirectory(
      wording`invalid run directory: "${directory}" already holds a run (continue it with ${option('resume')}, or choose another with ${option('directory')})`,
    )
  // Ignore files of a process that was killed while it created the run.
  const [other] = names.filter((name) => !name.startsWith(LOCK_FILE) && name !== 'config.json.tmp')
  if (other !== undefined)
    throw new UsageError(
      wording`invalid run directory: "${directory}" holds ${other} but no run (expected a new or empty directory; choose another with ${option('directory')})`,
    )
}

/** Creates a folder, and those around it if they are missing. Returns the folders that were created. */
async function createFolder(directory: string): Promise<string[]> {
  try {
    const created = await makeFolder(resolve(directory))
    await syncFolder(dirname(resolve(directory)))
    return created
  } catch (error) {
    throw new RunError(`cannot create run directory ${directory}: ${(error as Error).message}`)
  }
}

const jsonText = (contents: object): string => `${JSON.stringify(contents, null, 2)}\n`
