/**
 * Reads a run directory of Choir, while another process or machine writes it or years later. It only reads files.
 */
import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { median } from '../../../core/averages.ts'
import { newestFolder } from '../../../node/run/checkpoint/checkpoint.ts'
import { parseRanks, RANKS_FILE } from '../../../node/run/ranks/files.ts'
import { ARM_FILE, armIn, runOfFolder } from '../../../node/run/study-arm.ts'
import { isHeldByLiveProcess, LOCK_FILE } from '../../../node/system/lock.ts'
import type { RanksOfSteps, RoutingHistory, RunState, RunSummary, Series } from '../api.ts'
import { readInside } from './confined.ts'
import { type Failure, MAX_RECORD_BYTES, nonFiniteFailure, rankFailure } from './failure.ts'
import { MetricColumns } from './metric-columns.ts'
import { RoutingLog } from './routing-log.ts'
import {
  FollowedRun,
  type FoundRun,
  MAX_POLL_BYTES,
  type PolledRun,
  type PollResult,
  QUIET_MS,
  SETTLED_MS,
} from './run.ts'
import { type KnownConfig, readRunConfig, unknownConfig } from './run-config.ts'
import { type SeriesQuery, seriesOf, type Track, trackOf } from './series.ts'
import type { Snapshots } from './snapshots.ts'
import { nameOfRun, studyFields } from './study-names.ts'
import { LineTail } from './tail.ts'

/** Limit of a configuration, which takes some kilobytes. */
export const MAX_CONFIG_BYTES = 1 << 20

/** Limits of the file and of the name of an arm, which is a few words. */
const MAX_ARM_BYTES = 4096
const MAX_ARM_LENGTH = 200

const REFUSED = 'cannot be read (no permission, not a plain file, or a link that leads outside)'

/** Number of recent steps whose median time is the estimate of the time of a step. */
const RECENT_STEPS = 50

export class RunDirectoryReader extends FollowedRun implements PolledRun {
  readonly kind = 'choir'
  private readonly columns = new MetricColumns()
  private readonly metrics: LineTail
  private routingLog = new RoutingLog()
  private readonly routingTail: LineTail
  private config: KnownConfig = unknownConfig
  private configStamp = ''
  private configChanged = 0
  /** Arm of a run of a study; null until it is read, and for other runs. */
  private arm: string | null = null
  private checkpoint: string | null = null
  private isLocked = false
  /** Time at which the lock was first seen to be released. */
  private unlockedAt = Number.NEGATIVE_INFINITY
  /** Why the training failed; null unless it did. */
  private failure: Failure | null = null
  /** The last step, if it and the steps before it were not finite: its record is read once. */
  private failedStep: number | null = null
  private roster: RanksOfSteps['roster'] = []
  private memory = Number.POSITIVE_INFINITY

  constructor(found: FoundRun) {
    super(found)
    this.metrics = new LineTail(found.root, join(found.directory, 'metrics.jsonl'), {
      line: (bytes) => this.columns.add(bytes),
      replaced: () => this.columns.clear(),
    })
    this.routingTail = new LineTail(found.root, join(found.directory, 'routing.jsonl'), {
      line: (bytes, start) => this.routingLog.add(bytes, start, this.routingTail.size),
      replaced: () => this.routingLog.clear(),
    })
  }

  protected get tails(): readonly LineTail[] {
    return [this.metrics, this.routingTail]
  }

  protected get snapshots(): Snapshots {
    return this.routingLog.snapshots
  }

  limit(memory: number): void {
    this.memory = memory
    this.snapshots.limit(memory)
  }

  async poll(signal?: AbortSignal): Promise<PollResult> {
    await this.readConfig()
    await this.readArm()
    const metrics = await this.metrics.poll(MAX_POLL_BYTES, signal)
    // Curves come before experts: they are small, and users look at them first.
    const routing = metrics === 'behind' ? 'behind' : await this.routingTail.poll(MAX_POLL_BYTES, signal)
    const isSettled =
      routing === 'same' && Date.now() - this.routingTail.changed > SETTLED_MS && this.snapshots.settle()
    if (metrics !== 'same' && !this.columns.ranks.isEmpty) await this.readRoster()
    await this.checkCheckpointAndLock()
    const isBehind = metrics === 'behind' || routing === 'behind'
    await this.readFailure()
    // Only now: a run that is read shows why it failed.
    if (!isBehind) this.isReading = false
    const state = this.state(Date.now())
    const reason = this.failure?.reason
    const status = [state, reason, this.checkpoint, this.configStamp, this.arm, this.isReading].join()
    const isNew = this.hasNewStatus(status)
    const isChanged = metrics !== 'same' || routing !== 'same' || isSettled || isNew
    return { isChanged, isBehind, isRunning: state === 'running' }
  }

  summary(): RunSummary {
    const { found, columns, config, metrics } = this
    const [train, evaluation] = [columns.table('train'), columns.table('eval')]
    const now = Date.now()
    const state = this.state(now)
    const step = this.step()
    const problem = this.problem()
    const stepsLeft = (config.steps ?? Number.NaN) - step
    const stepTime = this.stepTime()
    return {
      id: found.id,
      path: found.path,
      name: nameOfRun(found.path, this.arm),
      kind: this.kind,
      state,
      ...(problem !== undefined && { problem }),
      ...(state === 'failed' && this.failure && { failure: this.failure.reason }),
      ...(this.columns.routerFaults.length > 0 && { routerFaults: this.columns.routerFaults }),
      step,
      steps: config.steps,
      tokens: train?.last('tokens') ?? evaluation?.last('tokens') ?? 0,
      loss: train?.last('loss') ?? null,
      heldOutLoss: evaluation?.last('loss') ?? null,
      ...this.heldOutPart(),
      bitsPerByte: evaluation?.last('bits_per_byte') ?? null,
      tokensPerSecond: train?.last('tokens_per_second') ?? null,
      secondsLeft: state === 'running' && stepsLeft > 0 && stepTime > 0 ? (stepsLeft * stepTime) / 1000 : null,
      created: config.created,
      changed: this.changed(),
      lines: columns.lines + metrics.skipped,
      reading: this.isReading,
      metrics: columns.names(),
      routed: this.routing() !== undefined,
      ranked: !columns.ranks.isEmpty,
      traceable: this.checkpoint !== null && config.routers !== null,
      checkpoint: this.checkpoint,
      config: { ...studyFields(this.directory, this.arm), ...config.fields },
    }
  }

  series(metric: string, query: SeriesQuery): Series | undefined {
    return seriesOf(this.id, this.columns, metric, query, this.config.flopsPerToken)
  }

  track(metric: string): Track | undefined {
    return trackOf(this.columns, metric)
  }

  routingSummary(router: number): RoutingHistory {
    return this.snapshots.summary(router)
  }

  ranks(span: number, step?: number): RanksOfSteps | undefined {
    const found = this.columns.ranks.ranks(span, step)
    return found && { run: this.id, ...found, roster: this.roster }
  }

  async failureRecord(): Promise<Buffer | undefined> {
    const { failure, found, directory } = this
    return failure ? readInside(found.root, join(directory, failure.file), MAX_RECORD_BYTES) : undefined
  }

  /** The number of evaluated tokens, if the held-out text has more of them. */
  private heldOutPart(): Pick<RunSummary, 'heldOutPart'> {
    const tokens = this.columns.table('eval')?.last('evaluated_tokens') ?? null
    const { evaluatedAtMost } = this.config
    // A text that is shorter than the limit is evaluated as a whole.
    return tokens !== null && evaluatedAtMost !== null && tokens >= evaluatedAtMost ? { heldOutPart: tokens } : {}
  }

  private step(): number {
    const last = (kind: string) => this.columns.table(kind)?.lastStep ?? 0
    return Math.max(0, last('train'), last('eval'))
  }

  /** Milliseconds per step; 0 before the first step. */
  private stepTime(): number {
    const times = this.columns.table('train')?.column('step_ms')?.subarray(-RECENT_STEPS) ?? []
    return median([...times].filter(Number.isFinite))
  }

  protected override changed(): number {
    return Math.max(super.changed(), this.configChanged)
  }

  private state(now: number): RunState {
    const { steps, problem } = this.config
    if (problem !== undefined) return 'unreadable'
    // A training fails at its last step or after it, too.
    if (this.failure) return 'failed'
    if (steps !== null && this.step() >= steps) return 'finished'
    if (this.isLocked) return 'running'
    const changed = this.changed()
    // Writes from before the lock was released do not show that the run goes on.
    if (changed > this.unlockedAt && now - changed < Math.max(QUIET_MS, 10 * this.stepTime())) return 'running'
    // Without a configuration the number of steps left is unknown.
    if (steps === null) return 'finished'
    return 'stopped'
  }

  private problem(): string | undefined {
    const refused = (this.metrics.isRefused && 'metrics.jsonl') || (this.routingTail.isRefused && 'routing.jsonl')
    return (
      this.config.problem ??
      (refused ? `${refused} ${REFUSED}` : undefined) ??
      this.columns.problem ??
      (this.failure === null && Number.isNaN(this.columns.table('train')?.column('loss')?.at(-1))
        ? 'the newest loss is not finite'
        : undefined) ??
      this.routingLog.problem ??
      this.tooLong()
    )
  }

  private async readConfig(): Promise<void> {
    const path = join(this.directory, 'config.json')
    const now = await stat(path).catch(() => undefined)
    const stamp = now ? `${now.ino} ${now.size} ${now.mtimeMs}` : ''
    if (stamp === this.configStamp) return
    this.configChanged = now?.mtimeMs ?? 0
    const text = (await readInside(this.found.root, path, MAX_CONFIG_BYTES))?.toString()
    // Retried at every poll: a network file system may recover, a user may grant permission.
    const isRefused = now !== undefined && text === undefined
    this.configStamp = isRefused ? 'refused' : stamp
    const before = JSON.stringify(this.config.routers)
    this.config = text === undefined ? unknownConfig : readRunConfig(text)
    if (isRefused) this.config = { ...unknownConfig, problem: `config.json ${REFUSED}` }
    if (JSON.stringify(this.config.routers) === before) return
    // The number of routers per snapshot has changed.
    this.routingLog = new RoutingLog(this.config.routers ?? undefined)
    this.snapshots.limit(this.memory)
    this.routingTail.restart()
  }

  private async readArm(): Promise<void> {
    const found = this.arm === null ? runOfFolder(basename(this.directory)) : null
    if (!found) return
    const text = await readInside(this.found.root, join(this.directory, ARM_FILE), MAX_ARM_BYTES)
    // Studies of earlier versions wrote no file, so only the short form in the folder's name exists.
    this.arm = (text && armIn(text.toString())?.slice(0, MAX_ARM_LENGTH)) ?? null
  }

  private async readFailure(): Promise<void> {
    const { columns, config, found, directory } = this
    const { nonFiniteInRow } = columns
    if (this.isLocked || config.steps === null) {
      this.failedStep = null
      this.failure = null
    } else if (config.maxNonFinite === null || nonFiniteInRow < config.maxNonFinite) {
      this.failedStep = null
      this.failure = await rankFailure(found.root, directory)
    } else if (this.failedStep !== this.step()) {
      this.failedStep = this.step()
      this.failure = await nonFiniteFailure(found.root, directory, this.failedStep, nonFiniteInRow)
    }
  }

  private async readRoster(): Promise<void> {
    const text = await readInside(this.found.root, join(this.directory, RANKS_FILE), MAX_CONFIG_BYTES)
    const ranks = text ? parseRanks(text.toString()) : []
    this.roster = ranks.map(({ host, pid }) => ({ host: host.slice(0, 100), pid }))
  }

  private async checkCheckpointAndLock(): Promise<void> {
    this.checkpoint = await newestCheckpointKey(this.directory)
    const lock = await readInside(this.found.root, join(this.directory, LOCK_FILE), 4096)
    const isLocked = lock !== undefined && (await isHeldByLiveProcess(lock.toString()))
    if (this.isLocked && !isLocked) this.unlockedAt = Date.now()
    this.isLocked = isLocked
  }
}

/**
 * A key of the newest checkpoint of a run; null without one. It differs even between checkpoints of the same step,
 * which a recreated run has.
 */
export async function newestCheckpointKey(directory: string): Promise<string | null> {
  const folder = await newestFolder(join(directory, 'checkpoints')).catch(() => undefined)
  const found = folder && (await stat(folder).catch(() => undefined))
  return found ? `${basename(folder)} ${found.ino} ${found.mtimeMs}` : null
}
