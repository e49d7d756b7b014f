/**
 * The gradient program: tokens → loss, statistics, and the gradient of every parameter, written in
 * place into the store.
 *
 * With micro-batches there are two programs (`gradient-pass.ts`): the first writes gradients, the second adds to them.
 * This file runs them in turn: it gives each pass its part of the batch, adds the rows and the sums that come after a
 * pass, and combines the statistics of the passes of all ranks.
 */
import type { ModelConfig } from '../../../core/model/config.ts'
import type { LayerCounts } from '../../../core/model/routing/statistics.ts'
import type { ArenaKernels, RowScatter } from '../../../engine/contract/arena-kernels.ts'
import type { Ranks } from '../../../engine/contract/ranks.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import type { NodeTime, StepEvent } from '../../../engine/contract/times.ts'
import type { Batch } from '../../data/batches.ts'
import { addStatistics } from '../metrics/pass-statistics.ts'
import { Timeline } from '../metrics/timeline.ts'
import { GradientSum } from '../ranks/gradient-sum.ts'
import type { AllToAllStages } from '../ranks/ledger.ts'
import { keptByRank } from '../ranks/load.ts'
import { ParameterSharing } from '../ranks/parameter-sharing.ts'
import { shardsOfRank } from '../store/gradient-tree.ts'
import type { Layout } from '../store/placement.ts'
import { RowMemory, rowScratch } from '../store/row-memory.ts'
import {
  balanceName,
  compilePass,
  type GradientPass,
  type GradientSetting,
  type GradientShape,
  passSequences,
  type Shared,
} from './gradient-pass.ts'
import type { CompiledPass, ExpertLoads } from './pass.ts'

export interface GradientResult {
  /** Mean loss over the passes of all ranks, nats per token. */
  readonly loss: number
  /** Losses of all passes; the passes of the first rank come first. */
  readonly passLosses: readonly number[]
  /** Mean over the passes of the sum of the losses of the user's own layers; null if they have none. */
  readonly layerLoss: number | null
  readonly layers: readonly LayerCounts[]
  /** Assignments that the experts of each rank computed; null if every rank has all experts. */
  readonly keptByRank: readonly number[] | null
  /** Time that a program has waited for parameters of other ranks. */
  readonly arrivalMs: number
}

/** Values that an update may depend on before a device is done with the gradient. */
export interface EnqueuedGradient {
  /** Whether a known loss is not finite, so that there is no update. */
  readonly closed: boolean
  /** Memory of the losses that are not known yet. */
  readonly losses: readonly Float32Array[]
  readonly loads: readonly ExpertLoads[]
}

/** Scratch memory, in floats, that a gradient program needs in the bank of a table. */
export const gradientScratch = (config: ModelConfig, shape: GradientShape): number =>
  rowScratch({ ...config, sequence: shape.sequence }, passSequences(shape))

export class GradientProgram {
  private readonly write: GradientPass
  private readonly accumulate: GradientPass | null
  private readonly runtime: Runtime
  private readonly kernels: ArenaKernels
  private readonly shape: GradientShape
  /** The sum of this program's gradients over all shards. */
  private readonly sum: GradientSum
  /** The sharing of the parameters that this program reads. */
  readonly parameters: ParameterSharing
  private readonly ranks: Ranks | null
  private readonly layout: Layout
  private readonly seed: number
  private readonly balance: GradientSetting['balance']
  /** Runs of `accumulate` in the last step, except its last run. */
  private earlierRuns: StepEvent[] = []
  /** Tickets of the exchanges that the last run has posted. */
  private tickets: readonly number[] = []
  private arrivalMs = 0
  /** Statistics of all passes of the last step but its final pass, which is `lastPass`. */
  private earlierStatistics: Float64Array[] = []
  private lastPass: CompiledPass

  private constructor(
    write: GradientPass,
    accumulate: GradientPass | null,
    { sum, parameters }: Shared,
    { runtime, kernels, shape, store, ranks = null, balance }: GradientSetting,
    seed: number,
  ) {
    this.write = write
    this.accumulate = accumulate
    this.lastPass = write.pass
    this.runtime = runtime
    this.kernels = kernels
    this.shape = shape
    this.sum = sum
    this.parameters = parameters
    this.ranks = ranks
    this.layout = store.layout
    this.seed = seed
    this.balance = balance
  }

  static async compile(setting: GradientSetting, seed: number): Promise<GradientProgram> {
    const rows = new RowMemory(setting.store)
    const { kernels, store, ranks = null, shape } = setting
    const shared = { rows, sum: new GradientSum(kernels, store, ranks), parameters: new ParameterSharing(store, ranks) }
    const only = shape.microBatches === 1
    const write = await compilePass(setting, shared, { first: true, last: only })
    const accumulate = only ? null : await compilePass(setting, shared, { first: false, last: true })
    return new GradientProgram(write, accumulate, shared, setting, seed)
  }

  /**
   * Enqueues the gradient of one step. On several ranks each rank computes its shards, and owners get the sum of all
   * shards.
   * @param batch The batch of all ranks.
   * @param timeline Records the runs of programs and kernels.
   */
  async run(step: number, batch: Batch, timeline = new Timeline()): Promise<void> {
    const { microBatches } = this.shape
    const shards = shardsOfRank(this.layout)
    this.earlierStatistics = []
    this.earlierRuns = []
    this.tickets = []
    this.arrivalMs = 0
    if (!this.write.pass.waits) await this.parameters.settle()
    for (let shard = 0; shard < shards; shard++) {
      for (let part = 0; part < microBatches; part++) {
        const pass = (this.layout.rank * shards + shard) * microBatches + part
        if (shard + part > 0) await this.finishPass()
        await this.runPass(step, pass, part, batch, timeline)
      }
      if (shards > 1) await timeline.time('add gradients', () => this.sum.addShard(shard))
    }
    if (this.ranks) await timeline.meet('reduce gradients', () => this.sum.reduce(this.tickets))
  }

  /** Losses and counts of the last {@link run}, once its results are there (`Runtime.synchronize`). All ranks call it. */
  async result(timeline = new Timeline()): Promise<GradientResult> {
    const own = [...this.earlierStatistics, this.lastPass.statistics()]
    return this.combine(await this.ofAllRanks(own, timeline))
  }

  /** The state of the last {@link run}, of whose passes all but the last are done. */
  enqueued(): EnqueuedGradient {
    const layers = this.lastPass.emptyCounts()
    const known = this.earlierStatistics.map((statistics) => addStatistics(layers, statistics).loss)
    const counts = this.lastPass.countArrays
    return {
      closed: !known.every(Number.isFinite),
      losses: [this.lastPass.lossArray],
      loads: layers.map(({ layer, module, tokens }, i) => {
        return { layer, module, known: tokens, enqueued: counts[i] as Float32Array }
      }),
    }
  }

  /** Reads the statistics of the last pass, whose memory the next pass uses. */
  private async finishPass(): Promise<void> {
    await this.runtime.synchronize()
    this.earlierStatistics.push(this.lastPass.statistics())
  }

  /**
   * Enqueues the gradient of a pass.
   * @param pass Index among the passes of all ranks.
   * @param part Place of the pass in its shard.
   */
  private async runPass(
    step: number,
    pass: number,
    part: number,
    { tokens, targets, experts = [] }: Batch,
    timeline: Timeline,
  ): Promise<void> {
    const { write, accumulate, shape, seed, kernels } = this
    const size = passSequences(shape) * shape.sequence
    const passes = tokens.length / size
    const { pass: compiled, scatters } = part === 0 ? write : (accumulate as GradientPass)
    this.lastPass = compiled
    compiled.tokens.set(tokens.subarray(pass * size, (pass + 1) * size))
    compiled.targets.set(targets.subarray(pass * size, (pass + 1) * size))
    compiled.giveExperts(
      experts.map((of) => of.subarray((pass * of.length) / passes, ((pass + 1) * of.length) / passes)),
    )
    compiled.drawChoices(seed, 'train', step, pass)
    if (this.balance) compiled.write(balanceName, this.balance(step))
    if (part > 1) this.earlierRuns.push(...compiled.lastRun())
    const isLast = part === shape.microBatches - 1
    await timeline.time(shape.microBatches > 1 ? `micro-batch ${part + 1}` : 'program', async () => {
      const complete = isLast && { complete: (exchange: number) => this.sum.beginEarly(exchange) }
      const options = { early: isLast, arriving: this.parameters.arrivals, ...complete }
      const { tickets, waitedMs } = await compiled.enqueue(options)
      this.tickets = tickets
      this.arrivalMs += waitedMs
    })
    // The first pass has read all parameters, so only some of this rank's own parameters may still have to leave.
    await this.parameters.settle()
    for (const scatter of scatters) await timeline.time('add rows', () => kernels.scatterAddRows(scatter), 'embedding')
  }

  /** The statistics of all passes of a step, in order. */
  private async ofAllRanks(own: readonly Float64Array[], timeline: Timeline): Promise<readonly Float64Array[]> {
    const { ranks } = this
    if (!ranks) return own
    const size = own[0]?.length ?? 0
    const values = Float64Array.from(own.flatMap((of) => [...of]))
    const all = await timeline.meet('gather statistics', () => ranks.allGather(values))
    return Array.from({ length: all.length / size }, (_, pass) => all.subarray(pass * size, (pass + 1) * size))
  }

  private combine(passes: readonly Float64Array[]): GradientResult {
    const layers = this.write.pass.emptyCounts()
    const losses = passes.map((statistics) => addStatistics(layers, statistics))
    const passLosses = losses.map(({ loss }) => loss)
    let [loss, ownLoss] = [0, 0]
    for (const each of losses) {
      loss += each.loss / passes.length
      ownLoss += each.layerLoss / passes.length
    }
    const layerLoss = this.write.pass.hasLayerLoss ? ownLoss : null
    const empty = () => this.write.pass.emptyCounts()
    const { arrivalMs } = this
    return { loss, passLosses, layerLoss, layers, keptByRank: keptByRank(passes, empty, this.layout), arrivalMs }
  }

  /** The all-to-alls of each pass of a step, in order. */
  get allToAlls(): readonly AllToAllStages[] {
    const { write, accumulate, shape, layout } = this
    return Array.from({ length: shardsOfRank(layout) * shape.microBatches }, (_, i) =>
      i % shape.microBatches === 0 || !accumulate ? write.pass.allToAlls : accumulate.pass.allToAlls,
    )
  }

  /** The programs, which run in turn. */
  get passes(): readonly CompiledPass[] {
    return this.accumulate ? [this.write.pass, this.accumulate.pass] : [this.write.pass]
  }

  /** Working memory of the programs, which share it. */
  get memoryBytes(): number | undefined {
    const bytes = this.passes.map(({ memoryBytes }) => memoryBytes ?? 0)
    return this.write.pass.memoryBytes === undefined ? undefined : Math.max(...bytes)
  }

  profile(): NodeTime[] {
    return [...this.write.pass.profile(), ...(this.accumulate?.pass.profile() ?? [])]
  }

  resetProfile(): void {
    this.write.pass.resetProfile()
    this.accumulate?.pass.resetProfile()
  }

  /** Work of every thread in the last step. */
  lastRuns(): StepEvent[] {
    return [...this.write.pass.lastRun(), ...this.earlierRuns, ...(this.accumulate?.pass.lastRun() ?? [])]
  }

  /** Row additions of a step. */
  get scatters(): RowScatter[] {
    const passes = shardsOfRank(this.layout) * this.shape.microBatches
    return Array.from({ length: passes }, () => this.write.scatters).flat()
  }

  release(): void {
    this.write.pass.release()
    this.accumulate?.pass.release()
  }
}
