/**
 * One pass of the model over a batch, as a program with its memory; shared by training and evaluation.
 * The pass owns small arrays (tokens, losses, counts); parameters are ranges of the store.
 */

import { sizeOf } from '../../../core/graph/shape.ts'
import { input, type Tensor } from '../../../core/graph/tensor.ts'
import { activatedExperts, type RoutedModule } from '../../../core/model/config/moe-config.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import type { Rooms } from '../../../core/model/expert-rows.ts'
import type { Pass, RoutingReport } from '../../../core/model/moe.ts'
import { routedModules } from '../../../core/model/parameters.ts'
import type { LayerCounts } from '../../../core/model/routing/statistics.ts'
import { choicesName, type Losses, losses } from '../../../core/model/transformer.ts'
import { drawDistinct, randomFor } from '../../../core/random.ts'
import type {
  Exchanges,
  Executable,
  PortMemory,
  RunOptions,
  RunReport,
  Runtime,
} from '../../../engine/contract/runtime.ts'
import type { NodeTime, StepEvent } from '../../../engine/contract/times.ts'
import { firstVisible } from '../../data/first-visible.ts'
import { emptyCounts, outputsOf, statisticsOf, statisticsPrefix, statisticsSize } from '../metrics/pass-statistics.ts'
import { GrowingProgram, type Growth, type Trace } from '../ranks/growing-program.ts'
import { type AllToAllStages, allToAllStages } from '../ranks/ledger.ts'
import { inputNameOf, type ModelStore, type TracedParameters } from '../store/model-store.ts'
import { sourcesKept } from '../store/placement.ts'

/** How to find the documents of a window, for attention that does not cross them. */
interface Documents {
  readonly sequence: number
  /** The token that starts a document. */
  readonly separator: number
}

export interface TracedPass {
  readonly parameters: TracedParameters
  readonly losses: Losses
  readonly documents: Documents | null
}

/** Name of the output with the loss of each target, which evaluations ask for. */
export const tokenLossesName = 'loss of each target'

/** Labels for the draws of a router; the module is named only for projections of attention. */
export const moduleLabels = (layer: number, module: RoutedModule): (string | number)[] =>
  module === 'ffn' ? [layer] : [layer, module]

/** Name of the input with the first visible position of each token. */
const visibleName = 'first visible'

/**
 * Traces the losses of a pass in float32; inputs are `tokens`, `targets`, parameters and random choices.
 * @param separator Token at which attention restarts; default: a token sees its whole window.
 * @param rooms Layers that have more room for the rows of other ranks than `parallel.headroom`; default: no layers.
 */
export function tracePass(
  config: ModelConfig,
  store: ModelStore,
  pass: Pass,
  separator?: number,
  rooms: Rooms = new Map<string, number>(),
): TracedPass {
  const parameters = store.trace()
  const shape = [pass.batch * pass.sequence]
  const [tokens_T, targets_T] = [input('tokens', 'int32', shape), input('targets', 'int32', shape)]
  const documents = separator === undefined ? null : { sequence: pass.sequence, separator }
  const visible = documents ? { firstVisible_T: input(visibleName, 'int32', shape) } : {}
  const { expert, headroom, reproducible } = store.layout
  const bySource = sourcesKept(store.layout) > 1
  const sharing = expert > 1 ? { ranks: expert, headroom, rooms, joined: !reproducible, bySource } : undefined
  const all = { ...pass, ...visible, sharing }
  return { parameters, losses: losses(config, parameters, tokens_T, targets_T, all), documents }
}

/** Assignments to the experts of a routed module [N], before drops: the sum of both arrays. */
export interface ExpertLoads {
  readonly layer: number
  readonly module: RoutedModule
  readonly known: ArrayLike<number>
  /** Loads of a pass that has been enqueued, and may not be done yet; null without such a pass. */
  readonly enqueued: Float32Array | null
}

/** A compiled pass. Write `tokens` and `targets`, run, read `loss` and the counts. */
export class CompiledPass {
  readonly tokens: Int32Array
  readonly targets: Int32Array
  /** The all-to-alls of rows with other ranks. */
  readonly allToAlls: AllToAllStages
  private readonly config: ModelConfig
  private readonly losses: Losses
  private readonly documents: Documents | null
  private readonly buffers: Record<string, PortMemory> = {}
  private readonly program: GrowingProgram

  private constructor(
    config: ModelConfig,
    { losses, documents }: TracedPass,
    executable: Executable,
    shared: Readonly<Record<string, PortMemory>>,
    programOf: (executable: Executable, buffers: Readonly<Record<string, PortMemory>>) => GrowingProgram,
  ) {
    this.allToAlls = allToAllStages(executable.model, losses.reports)
    this.config = config
    this.losses = losses
    this.documents = documents
    for (const { name, dtype, shape } of [...executable.model.inputs, ...executable.model.outputs])
      this.buffers[name] =
        shared[name] ?? (dtype === 'int32' ? new Int32Array(sizeOf(shape)) : new Float32Array(sizeOf(shape)))
    this.tokens = this.buffers.tokens as Int32Array
    this.targets = this.buffers.targets as Int32Array
    this.program = programOf(executable, this.buffers)
  }

  /** Whether a run can wait for parameters that arrive. */
  get waits(): boolean {
    return this.program.waits
  }

  get memoryBytes(): number | undefined {
    return this.program.executable.memoryBytes
  }

  /** How the working memory has grown for rows of other ranks; null if it has not. */
  get growth(): Growth | null {
    return this.program.growth
  }

  /**
   * @param extra Additional outputs by name.
   * @param shared Memory, by name, of inputs and outputs that the pass does not own.
   * @param beside Exchanges of gradients during a run, and of parameters, by the names of their tensors.
   * @param retrace Traces the same pass, with its additional outputs, with more room for the rows of other ranks. A pass
   * in which ranks share experts needs it.
   */
  static async compile(
    runtime: Runtime,
    config: ModelConfig,
    traced: TracedPass,
    extra: Readonly<Record<string, Tensor>> = {},
    shared: Readonly<Record<string, PortMemory>> = {},
    beside: Exchanges = {},
    retrace: Retrace = () => ({ traced, extra }),
  ): Promise<CompiledPass> {
    const executable = await runtime.compile({ outputs: { ...outputsOf(traced.losses), ...extra } })
    const arriving = (beside.arriving ?? []).map((names) =>
      traced.parameters.used.flatMap(({ spec, tensor }) => (names.includes(spec.name) ? [inputNameOf(tensor)] : [])),
    )
    const all = { ...traced.parameters.ports(), ...shared }
    const trace: Trace = (rooms) => {
      const again = retrace(rooms)
      return { outputs: { ...outputsOf(again.traced.losses), ...again.extra } }
    }
    return new CompiledPass(
      config,
      traced,
      executable,
      all,
      (of, buffers) => new GrowingProgram(runtime, of, trace, buffers, { ...beside, arriving }),
    )
  }

  /** Computes the pass: losses and counts are there when it resolves. */
  run(): Promise<RunReport> {
    this.findDocuments()
    return this.program.run()
  }

  /** Enqueues the pass: losses and counts are there after `Runtime.synchronize`. */
  enqueue(options: RunOptions): Promise<RunReport> {
    this.findDocuments()
    return this.program.enqueue(options)
  }

  private findDocuments(): void {
    if (!this.documents) return
    const { sequence, separator } = this.documents
    firstVisible(this.tokens, sequence, separator, this.buffers[visibleName] as Int32Array)
  }

  /** Cross-entropy of the last run, nats per token. */
  get loss(): number {
    return this.lossArray[0] as number
  }

  /**
   * Cross-entropy of each target of the last run [T], nats; 0 where a target is not counted. The array exists only if
   * it is an extra output.
   */
  get tokenLosses(): Float32Array {
    return this.buffers[tokenLossesName] as Float32Array
  }

  /** The memory of {@link loss} [1]. */
  get lossArray(): Float32Array {
    return this.buffers.loss as Float32Array
  }

  /** The memory of the assignments to the experts of each routed module, before drops [N]. */
  get countArrays(): readonly Float32Array[] {
    return this.losses.reports.map((report) => this.buffers[`${statisticsPrefix(report)}.count`] as Float32Array)
  }

  /** Writes an input that is a number; without effect if the program does not read it. */
  write(name: string, value: number): void {
    const buffer = this.buffers[name] as Float32Array | undefined
    buffer?.fill(value)
  }

  /** Gives the experts [T, K] of each router, in the order of computation, to a pass with replayed routes. */
  giveExperts(experts: readonly Int32Array[]): void {
    for (const [i, experts_TK] of experts.entries()) {
      const { layer, module } = this.losses.reports[i] as RoutingReport
      ;(this.buffers[choicesName(layer, module)] as Int32Array).set(experts_TK)
    }
  }

  /** Draws the experts of a random router as a function of the seed and the labels, which name the step and pass. */
  drawChoices(seed: number, ...labels: (string | number)[]): void {
    const { moe } = this.config
    if (moe?.router !== 'random') return
    const choices = activatedExperts(moe)
    for (let layer = 0; layer < this.config.layers; layer++)
      for (const module of routedModules(this.config, layer)) {
        const given_TK = this.buffers[choicesName(layer, module)] as Int32Array
        const random = randomFor(seed, 'routing', ...labels, ...moduleLabels(layer, module))
        drawDistinct(given_TK, choices, moe.experts, random)
      }
  }

  /** Zero counts to which `addStatistics` adds. */
  emptyCounts(): LayerCounts[] {
    return emptyCounts(this.config, this.losses)
  }

  /** Losses and counts of the last run, as numbers that any rank can add with `addStatistics`. */
  statistics(): Float64Array {
    return statisticsOf(this.losses, this.buffers)
  }

  /** Length of {@link statistics}. */
  get statisticsSize(): number {
    return statisticsSize(this.losses)
  }

  /** Whether layers of the user's own have losses. */
  get hasLayerLoss(): boolean {
    return this.losses.layerLoss !== null
  }

  profile(): readonly NodeTime[] {
    return this.program.executable.profile()
  }

  resetProfile(): void {
    this.program.executable.resetProfile()
  }

  lastRun(): readonly StepEvent[] {
    return this.program.executable.lastRun()
  }

  release(): void {
    this.program.release()
  }
}

/** Traces a pass and its additional outputs. */
export type Retrace = (rooms: Rooms) => {
  readonly traced: TracedPass
  readonly extra: Readonly<Record<string, Tensor>>
}
