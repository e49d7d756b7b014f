/**
 * A run on disk: what its folder is called inside, who may write there, and what makes a resumed run's
 * files read as if it had never stopped.
 *
 *     config.json                 the configuration in full, Choir's version, when it was created
 *     tokenizer.json              Hugging Face format
 *     metrics.jsonl               a line a step, a line an evaluation
 *     routing.jsonl               per-layer, per-expert statistics
 *     events.out.tfevents.*       the scalars of metrics.jsonl for TensorBoard, a file a process
 *     checkpoints/                see checkpoint/checkpoint.ts
 */
import { open, readdir, readFile, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { isFields } from '../config/fields.ts'
import type { RunConfig } from '../config/run-config.ts'
import { RunError, UsageError } from '../errors.ts'
import type { EvalRecord, RoutingRecord, TrainRecord } from '../step/records.ts'
import { errorCode, makeFolder, replaceFile, syncFolder } from '../system/disk.ts'
import { JsonLines, readLines } from '../system/jsonl.ts'
import { LOCK_FILE, lockRun, type RunLock } from '../system/lock.ts'
import { version } from '../system/version.ts'
import { capacityScalars } from './capacity-scalars.ts'
import { loadRunConfig } from './load-config.ts'
import { EventWriter } from './tensorboard.ts'

interface Logs {
  readonly metrics: JsonLines
  readonly routing: JsonLines
  readonly events: EventWriter
}

/** A run directory that this process writes, alone. */
export class RunDirectory {
  readonly path: string
  /** The folder of checkpoints. */
  readonly checkpoints: string
  private readonly lock: RunLock
  private readonly isResumed: boolean
  private logs: Logs | undefined

  private constructor(path: string, lock: RunLock, isResumed: boolean) {
    this.path = path
    this.checkpoints = join(path, 'checkpoints')
    this.lock = lock
    this.isResumed = isResumed
  }

  /**
   * Creates a run directory, or with `resume` opens the one that is there.
   * @throws UsageError when the directory holds something else, a run that is not to be resumed, or a
   *   run whose results come from another configuration (all differing fields are listed)
   * @throws RunError when another process trains in it, or it cannot be written
   */
  static async open(directory: string, config: RunConfig, resume: boolean): Promise<RunDirectory> {
    // Nothing is created or locked in a directory that is not ours.
    if (resume) await loadRunConfig(directory)
    else {
      await refuseOccupied(directory)
      await createFolder(directory)
    }
    const lock = await lockRun(directory)
    try {
      if (resume) await adoptConfig(directory, config)
      else {
        await refuseOccupied(directory)
        await writeConfig(directory, { version: version(), created: new Date().toISOString(), ...config })
      }
      return new RunDirectory(directory, lock, resume)
    } catch (error) {
      await lock.release()
      throw error
    }
  }

  /** The run's tokenizer.json; null when there is none yet. */
  async tokenizer(): Promise<string | null> {
    try {
      return await readFile(this.tokenizerFile, 'utf8')
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return null
      throw new RunError(`cannot read ${this.tokenizerFile}: ${(error as Error).message}`)
    }
  }

  async saveTokenizer(json: string): Promise<void> {
    await replaceFile(this.tokenizerFile, json)
  }

  private get tokenizerFile(): string {
    return join(this.path, 'tokenizer.json')
  }

  /**
   * Drops what metrics.jsonl and routing.jsonl tell of steps after `step`, which are about to be done
   * again, and opens the logs behind it. To be called once, before the first record.
   */
  async rewind(step: number): Promise<void> {
    if (this.logs) throw new Error('internal: the logs of a run are rewound once, before they are written')
    const [metrics, routing] = [join(this.path, 'metrics.jsonl'), join(this.path, 'routing.jsonl')]
    try {
      await truncateAfter(metrics, step)
      await truncateAfter(routing, step)
      this.logs = {
        metrics: await JsonLines.open(metrics),
        routing: await JsonLines.open(routing),
        events: await EventWriter.open(this.path, this.isResumed ? step : undefined),
      }
      await syncFolder(this.path)
    } catch (error) {
      throw new RunError(`cannot open the logs of run ${this.path}: ${(error as Error).message}`)
    }
  }

  /** Adds a line to metrics.jsonl and its scalars for TensorBoard. @throws RunError of an earlier write. */
  record(kind: 'train' | 'eval', step: number, record: TrainRecord | EvalRecord): void {
    const { metrics, events } = this.opened()
    metrics.append(record)
    const values = kind === 'eval' ? { ...record, ...capacityScalars({ ...record }) } : record
    const scalars = Object.entries(values).flatMap(([name, value]) =>
      name === 'step' || typeof value !== 'number'
        ? []
        : [[`${kind === 'train' && routingScalars.has(name) ? 'routing' : kind}/${name}`, value] as const],
    )
    events.scalars(step, Object.fromEntries(scalars))
  }

  /** Adds a line to routing.jsonl. @throws RunError of an earlier write. */
  recordRouting(record: RoutingRecord): void {
    this.opened().routing.append(record)
  }

  /** Waits until every record survives a power cut. @throws RunError when one could not be written. */
  async flush(): Promise<void> {
    const { metrics, routing, events } = this.opened()
    await Promise.all([metrics.sync(), routing.sync(), events.flush()])
  }

  /** Takes back a new run that turned out to be impossible before its first step, so that a mended one can be. */
  async discard(): Promise<void> {
    if (this.isResumed || this.logs) return
    for (const name of ['tokenizer.json', 'config.json']) await rm(join(this.path, name), { force: true })
  }

  /** Writes what is queued and frees the directory for other processes, also when that fails. */
  async close(): Promise<void> {
    try {
      if (!this.logs) return
      const { metrics, routing, events } = this.logs
      const closed = await Promise.allSettled([metrics.close(), routing.close(), events.close()])
      for (const result of closed) if (result.status === 'rejected') throw result.reason
    } finally {
      await this.lock.release()
    }
  }

  private opened(): Logs {
    if (!this.logs) throw new Error('internal: a run is rewound before it is recorded')
    return this.logs
  }
}

const routingScalars: ReadonlySet<string> = new Set([
  'drop_rate',
  'unserved_rate',
  'load_cv',
  'load_cv_kept',
  'dead_experts',
])

async function refuseOccupied(directory: string): Promise<void> {
  const names = await readdir(directory).catch((error: unknown): string[] => {
    if (errorCode(error) === 'ENOENT') return []
    if (errorCode(error) === 'ENOTDIR')
      throw new UsageError(`invalid run directory: "${directory}" is a file (expected a new or empty directory)`)
    throw new RunError(`cannot read ${directory}: ${(error as Error).message}`)
  })
  if (names.includes('config.json') && (await loadRunConfig(directory).catch(() => undefined)))
    throw new UsageError(
      `invalid run directory: "${directory}" already holds a run (continue it with --resume, or choose another with --out)`,
    )
  // What is left of a process that was killed while it created the run is not in the way.
  const [other] = names.filter((name) => !name.startsWith(LOCK_FILE) && name !== 'config.json.tmp')
  if (other !== undefined)
    throw new UsageError(
      `invalid run directory: "${directory}" holds ${other} and is no run (expected a new or empty directory; choose another with --out)`,
    )
}

async function createFolder(directory: string): Promise<void> {
  try {
    await makeFolder(resolve(directory))
    await syncFolder(dirname(resolve(directory)))
  } catch (error) {
    throw new RunError(`cannot create run directory ${directory}: ${(error as Error).message}`)
  }
}

function writeConfig(directory: string, contents: object): Promise<void> {
  return replaceFile(join(directory, 'config.json'), `${JSON.stringify(contents, null, 2)}\n`)
}

/**
 * Fields that may change when a run is resumed: they steer what is still to come. Steps already done
 * keep what they had, so a changed schedule acts from here on. The precision steers results as well, those of
 * steps to come against steps done: it stays.
 */
const changeable =
  /^(runtime\.(device|threads)|data\.cache|train\.(steps|evalEvery|evalBatches|checkpointEvery|keep|routingEvery|maxNonFinite|schedule\..+))$/

/** Compares the configuration with the run's, and notes changes that are allowed in config.json. */
async function adoptConfig(directory: string, config: RunConfig): Promise<void> {
  const changes = differences(await loadRunConfig(directory), config, '')
  const refused = changes.filter(({ field }) => !changeable.test(field))
  if (refused.length > 0) {
    const list = refused.map(({ field, from, to }) => `\n  ${field}: ${formatValue(from)} in the run, ${formatValue(to)} given`)
    throw new UsageError(
      `invalid configuration to resume "${directory}": its results come from other settings ` +
        `(resume with the run's own, or start a new run)${list.join('')}`,
    )
  }
  if (changes.length === 0) return
  const stored = JSON.parse(await readFile(join(directory, 'config.json'), 'utf8')) as { changes?: unknown[] }
  const time = new Date().toISOString()
  const dated = changes.map((change) => ({ time, ...change }))
  await writeConfig(directory, { ...stored, ...config, changes: [...(stored.changes ?? []), ...dated] })
}

interface Difference {
  readonly field: string
  readonly from: unknown
  readonly to: unknown
}

/** Fields, by path, whose values differ. */
function differences(from: unknown, to: unknown, field: string): Difference[] {
  if (isFields(from) && isFields(to)) {
    const keys = new Set([...Object.keys(from), ...Object.keys(to)])
    return [...keys].flatMap((key) => differences(from[key], to[key], field === '' ? key : `${field}.${key}`))
  }
  return JSON.stringify(from) === JSON.stringify(to) ? [] : [{ field, from, to }]
}

function formatValue(value: unknown): string {
  return value === undefined ? 'not set' : JSON.stringify(value)
}

/** Cuts a log behind its last line of `step` or before; a line that was cut off by a crash goes as well. */
async function truncateAfter(path: string, step: number): Promise<void> {
  let end = 0
  for await (const line of readLines(path)) {
    if (!(stepOf(line.text) <= step)) break
    end = line.end
  }
  const handle = await open(path, 'a')
  try {
    await handle.truncate(end)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** NaN for a line that is damaged: the checkpoint's own lines were synced before it, so it comes later. */
function stepOf(line: string): number {
  try {
    return Number((JSON.parse(line) as { step?: unknown }).step ?? Number.NaN)
  } catch {
    return Number.NaN
  }
}
