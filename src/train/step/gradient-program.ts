/**
 * The gradient program: tokens → loss, statistics, and the gradient of every parameter, written in
 * place into the store.
 *
 * With micro-batches there are two programs: the first writes gradients, the second adds to them. The
 * sum is written over its own operand, which is safe because nothing reads the operand afterwards.
 *
 * For a table that is read by row (the embedding) the program writes the dense part of the gradient and,
 * separately, rows to add and their indices; a kernel adds them after the program has run.
 */
import { gradient } from '../../core/graph/gradient.ts'
import { sourcesOf } from '../../core/graph/ops/all-to-all.ts'
import { add, multiply } from '../../core/graph/ops/elementwise.ts'
import { sizeOf } from '../../core/graph/shape.ts'
import { splitScatters } from '../../core/graph/sparse-gradient.ts'
import { input, type Tensor, withKernels } from '../../core/graph/tensor.ts'
import type { ModelConfig } from '../../core/model/config.ts'
import type { Rooms } from '../../core/model/expert-rows.ts'
import type { LayerCounts } from '../../core/model/routing/statistics.ts'
import type { ArenaKernels, RowScatter } from '../../engine/contract/arena-kernels.ts'
import { channels, type Ranks } from '../../engine/contract/ranks.ts'
import type { PortMemory, Runtime } from '../../engine/contract/runtime.ts'
import type { NodeTime, StepEvent } from '../../engine/contract/times.ts'
import type { Batch } from '../data/batches.ts'
import { lossScale } from './loss-scale.ts'
import { inputNameOf } from './model-store.ts'
import { CompiledPass, type ExpertLoads, type Retrace, tracePass } from './pass.ts'
import { addStatistics } from './pass-statistics.ts'
import { GradientSum } from './ranks/gradient-sum.ts'
import { shardsOfRank } from './ranks/gradient-tree.ts'
import type { AllToAllStages } from './ranks/ledger.ts'
import { keptByRank } from './ranks/load.ts'
import { ParameterSharing } from './ranks/parameter-sharing.ts'
import { type Layout, sourcesKept } from './ranks/placement.ts'
import { inPlace } from './ranks/range-exchange.ts'
import { RowMemory, rowScratch } from './row-memory.ts'
import type { ParameterStore } from './store.ts'
import { Timeline } from './timeline.ts'

export interface GradientShape {
  /** Number of sequences per step. */
  readonly batch: number
  /** Equal parts of the batch whose gradients are summed in a tree; a multiple of the ranks. Default: 1. */
  readonly shards?: number
  /** Number of passes of a shard. */
  readonly microBatches: number
  readonly sequence: number
}

/** Number of sequences in a pass. */
const passSequences = ({ batch, shards = 1, microBatches }: Omit<GradientShape, 'sequence'>): number =>
  batch / shards / microBatches

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

/** Everything needed to compile a gradient program. */
export interface GradientSetting {
  readonly runtime: Runtime
  readonly kernels: ArenaKernels
  readonly config: ModelConfig
  readonly store: ParameterStore
  readonly shape: GradientShape
  /** The ranks that take part; null for a process alone. */
  readonly ranks?: Ranks | null
  /** Whether programs run while gradients and parameters are exchanged (default), or before and after it. */
  readonly overlap?: boolean
  /** Token at which attention restarts; default: a token sees its whole window. */
  readonly separator?: number | undefined
  /** Coefficient of the balancing loss at a step (from 1); default: the constant of the configuration. */
  readonly balance?: ((step: number) => number) | undefined
  /** Whether batches have the experts of their tokens; default: routers choose. */
  readonly replay?: boolean
}

/** Name of the input with the coefficient of the balancing loss. */
const balanceName = 'balance coefficient'

/** Scratch memory, in floats, that a gradient program needs in the bank of a table. */
export const gradientScratch = ({ width }: ModelConfig, shape: GradientShape): number =>
  rowScratch(width, passSequences(shape) * shape.sequence)

/** Parts that all passes of a program use. */
interface Shared {
  readonly rows: RowMemory
  readonly sum: GradientSum
  readonly parameters: ParameterSharing
}

interface GradientPass {
  readonly pass: CompiledPass
  readonly scatters: readonly RowScatter[]
}

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

/** @param place Whether the pass is the first of its shard, and whether gradients are complete after it. */
async function compilePass(
  setting: GradientSetting,
  { rows, sum, parameters }: Shared,
  { first, last }: { readonly first: boolean; readonly last: boolean },
): Promise<GradientPass> {
  const { runtime, config, overlap = true } = setting
  const trace = (rooms?: Rooms) => withKernels(runtime.kernels, () => traceGradient(setting, rows, !first, rooms))
  const { traced, outputs, memory, scatters, complete } = trace()
  const retrace: Retrace = (rooms) => {
    const { traced, outputs } = trace(rooms)
    return { traced, extra: outputs }
  }
  const early = last && overlap ? sum.exchangeEarly([...complete.keys()]) : []
  const exchanges = early.map(({ name, transfers }) => {
    const after = complete.get(name) as string[]
    // A device cannot post an exchange; this program begins it when the device has the outputs.
    return { after, channel: channels['early gradients'], transfers: runtime.defers ? [] : inPlace(transfers) }
  })
  const beside = { early: exchanges, arriving: first && overlap ? parameters.groups.map((names) => [...names]) : [] }
  return { pass: await CompiledPass.compile(runtime, config, traced, outputs, memory, beside, retrace), scatters }
}

/** Traces the gradient of every parameter that is trained as program outputs, with the memory that they are written to. */
function traceGradient(
  { runtime, config, store, shape, separator, balance, replay = false }: GradientSetting,
  rowMemory: RowMemory,
  accumulate: boolean,
  rooms?: Rooms,
) {
  const { shards = 1, microBatches, sequence } = shape
  const balanceCoefficient = balance && { balanceCoefficient: input(balanceName, 'float32', []) }
  const pass = {
    ...{ batch: passSequences(shape), sequence, training: true, capacity: 'train' as const, replay },
    ...balanceCoefficient,
  }
  const traced = tracePass(config, store, pass, separator, rooms)
  const used = traced.parameters.used.filter(({ spec }) => !spec.frozen)
  const scale = lossScale(runtime.math, shape.batch * sequence)
  const objective = multiply(traced.losses.objective, scale / (shards * microBatches))
  const unscaled = (gradient: Tensor) => (scale === 1 ? gradient : multiply(gradient, 1 / scale))
  const gradients = gradient(
    objective,
    used.map(({ tensor }) => tensor),
  )
  const keepsSources = sourcesKept(store.layout) > 1
  const outputs: Record<string, Tensor> = {}
  const memory: Record<string, PortMemory> = {}
  const scatters: RowScatter[] = []
  // The outputs of the gradient of each tensor to which nothing is added after the program.
  const complete = new Map<string, string[]>()
  used.forEach(({ spec, expert, tensor }, i) => {
    const name = inputNameOf(tensor)
    const { dense: whole, additions } = splitScatters(gradients[i] as Tensor)
    const dense = unscaled((keepsSources && sourcesOf(whole)) || whole)
    memory[`gradient ${name}`] = store.parts(spec.name, expert)
    memory[`before ${name}`] = store.parts(spec.name, expert)
    outputs[`gradient ${name}`] = accumulate ? add(input(`before ${name}`, 'float32', dense.shape), dense) : dense
    const isComplete = additions.length === 0 && !(spec.stacked && keepsSources)
    if (isComplete) complete.set(spec.name, [...(complete.get(spec.name) ?? []), `gradient ${name}`])
    additions.forEach(({ rows, indices }, use) => {
      const place = rowMemory.of(spec.name, use, sizeOf(indices.shape), tensor.shape)
      outputs[`rows ${use} of ${name}`] = unscaled(rows)
      outputs[`indices ${use} of ${name}`] = indices
      memory[`rows ${use} of ${name}`] = place.rows
      memory[`indices ${use} of ${name}`] = place.indices
      scatters.push(place.scatter)
    })
  })
  // The order is backward: the gradients of the last layer come first.
  return { traced, outputs, memory, scatters, complete: new Map([...complete].reverse()) }
}
