/**
 * Records the routing of a trained model, token by token.
 *
 * Think of evaluation that also outputs the routers' choices: the program evaluates under a capacity rule,
 * with the same batch. The text consists of windows of documents. Short windows and the last batch are
 * filled up with repeated text, which is marked so that it is not counted. At a capacity this filler still
 * takes slots of experts and may cause drops, so trace dropless to study single tokens.
 */

import { sizeOf } from '../../core/graph/shape.ts'
import { type Tensor, withKernels } from '../../core/graph/tensor.ts'
import type { MoeConfig } from '../../core/model/config/moe-config.ts'
import type { ModelConfig } from '../../core/model/config.ts'
import type { RoutingReport } from '../../core/model/moe.ts'
import type { CapacityRule } from '../../core/model/routing/contract.ts'
import { tokenEntropy } from '../../core/model/routing/losses.ts'
import { choicesName } from '../../core/model/transformer.ts'
import type { Buffer, Runtime } from '../../engine/contract/runtime.ts'
import type { Batch } from '../../train/data/batches.ts'
import type { DocumentWindow } from '../../train/data/document-windows.ts'
import type { TokenStream } from '../../train/data/streams/token-stream.ts'
import { configForCapacity } from '../../train/step/evaluation/capacity-rules.ts'
import { CompiledPass, tracePass } from '../../train/step/passes/pass.ts'
import { inputNameOf, type ModelStore } from '../../train/step/store/model-store.ts'
import type { RouterRows } from './generation/collected-routes.ts'

/** The choices of a router, and which of them an expert computed. */
export interface RouterTrace extends RouterRows {
  /** 1: computed by the expert; 0: dropped because the expert was full. */
  readonly kept_TK: Uint8Array
  /**
   * Entropy of the router's distribution for each token, nats, mean over prototypes; null for a router without weights,
   * or if it was not asked for.
   */
  readonly entropy_T: Float32Array | null
}

export interface TracerOptions {
  /** Number of sequences per pass. It must equal the training micro-batch, since capacity depends on it. */
  readonly batch: number
  /** Seed of a random router. */
  readonly seed: number
  /** With `none` an `expert-choice` model is traced as in generation: every token takes its top k. */
  readonly capacity: CapacityRule
  /** Token at which attention restarts (`data.crossDocuments`); undefined if a token sees its whole window. */
  readonly separator: number | undefined
  /** Whether the entropy of every token is computed. Default: no. */
  readonly entropy?: boolean
  /** Whether the caller gives the experts, by {@link RoutingTracer.given}. The router must score experts. Default: no. */
  readonly replay?: boolean
}

/** Loss and routing of a pass. */
export type PassTrace = Pick<BatchTrace, 'loss' | 'routers'>

/** Tokens, loss and routing of a batch. The arrays are not reused. */
export interface BatchTrace {
  /** Row b of the batch, from token b·S on, holds window b; rows beyond the windows are filler. */
  readonly windows: readonly DocumentWindow[]
  /** Token ids [B · S]. */
  readonly token_T: Int32Array
  /** Index of the document of each token [B · S]; −1 for filler. */
  readonly document_T: Int32Array
  /** Mean cross-entropy over all tokens except filler, nats. */
  readonly loss: number
  /** The routers in the order of computation, as in routing.jsonl. */
  readonly routers: readonly RouterTrace[]
}

/** Buffers to which the pass writes the choices of a router. */
interface RouterBuffers {
  readonly report: RoutingReport
  readonly expert_TK: Int32Array
  readonly gate_TK: Float32Array
  /** Position of each choice in its expert; null if nothing can be dropped. */
  readonly position_TK: Int32Array | null
  readonly entropy_T: Float32Array | null
}

/** A compiled pass that outputs its routing. */
export class RoutingTracer {
  /** With `replay`, experts [T, K] by router for the next run; a negative number leaves a choice to the router. */
  readonly given: readonly Int32Array[]
  private readonly pass: CompiledPass
  private readonly routers: readonly RouterBuffers[]
  private readonly moe: MoeConfig
  private readonly shape: { readonly batch: number; readonly sequence: number }
  private readonly seed: number

  private constructor(
    pass: CompiledPass,
    routers: readonly RouterBuffers[],
    given: readonly Int32Array[],
    moe: MoeConfig,
    shape: { readonly batch: number; readonly sequence: number },
    seed: number,
  ) {
    this.pass = pass
    this.routers = routers
    this.given = given
    this.moe = moe
    this.shape = shape
    this.seed = seed
  }

  /** Compiles the pass. */
  static async compile(
    runtime: Runtime,
    config: ModelConfig & { readonly moe: MoeConfig },
    store: ModelStore,
    { batch, seed, capacity, separator, entropy = false, replay = false }: TracerOptions,
  ): Promise<RoutingTracer> {
    const used = configForCapacity(config, capacity)
    const shape = { batch, sequence: config.sequence }
    const pass = { ...shape, training: false, capacity, replay }
    const [traced, entropies] = withKernels(runtime.kernels, () => {
      const traced = tracePass(used, store, pass, separator)
      return [traced, traced.losses.reports.map(({ choice }) => (entropy ? tokenEntropy(config.moe, choice) : null))]
    })
    const outputs: Record<string, Tensor> = {}
    const buffers: Record<string, Buffer> = {}
    const written = <B extends Buffer>(tensor: Tensor, name: string, buffer: B): B => {
      // The choices of a random router are an input, which cannot also be an output.
      const inputName = inputNameOf(tensor)
      if (!inputName) outputs[name] = tensor
      buffers[inputName || name] = buffer
      return buffer
    }
    const routers = traced.losses.reports.map((report, i): RouterBuffers => {
      const { choice, position_TK, capacity } = report
      const size = sizeOf(choice.expert_TK.shape)
      const name = `trace.${i}`
      const entropy_T = entropies[i] ?? null
      return {
        report,
        expert_TK: written(choice.expert_TK, `${name}.expert`, new Int32Array(size)),
        gate_TK: written(choice.gate_TK, `${name}.gate`, new Float32Array(size)),
        position_TK: capacity === null ? null : written(position_TK, `${name}.position`, new Int32Array(size)),
        entropy_T: entropy_T && written(entropy_T, `${name}.entropy`, new Float32Array(sizeOf(entropy_T.shape))),
      }
    })
    const given = replay
      ? routers.map(({ report: { layer, module }, expert_TK }) => {
          const array = new Int32Array(expert_TK.length).fill(-1)
          buffers[choicesName(layer, module)] = array
          return array
        })
      : []
    const compiled = await CompiledPass.compile(runtime, used, traced, outputs, buffers)
    return new RoutingTracer(compiled, routers, given, config.moe, shape, seed)
  }

  /** The batch of the next {@link run}, for the caller to fill. */
  get batch(): Batch {
    return this.pass
  }

  /** The capacity C of an expert of each router, in a group of tokens; null if nothing can be dropped. */
  get capacities(): readonly (number | null)[] {
    return this.routers.map(({ report }) => report.capacity)
  }

  /**
   * Runs the pass on {@link batch}.
   * @param labels Name the draws of a random router: `'eval'` and the index of a batch for those of an evaluation.
   */
  async run(...labels: (string | number)[]): Promise<PassTrace> {
    const { pass } = this
    pass.drawChoices(this.seed, ...labels)
    await pass.run()
    return { loss: pass.loss, routers: this.routers.map((router) => routerTrace(router, this.moe)) }
  }

  /**
   * Runs the windows in the given order, in batches.
   * @param stream The text. It must contain the token after each window, which is the last target of the window.
   */
  async *trace(stream: TokenStream, windows: readonly DocumentWindow[]): AsyncGenerator<BatchTrace, void> {
    const { pass, shape } = this
    for (let from = 0; from < windows.length; from += shape.batch) {
      const rows = windows.slice(from, from + shape.batch)
      const document_T = fill(stream, rows, shape.sequence, pass)
      yield { windows: rows, token_T: pass.tokens.slice(), document_T, ...(await this.run('trace', from)) }
    }
  }

  release(): void {
    this.pass.release()
  }
}

/** Fills a batch with one window per row; returns the document of each token. */
function fill(
  stream: TokenStream,
  rows: readonly DocumentWindow[],
  sequence: number,
  { tokens, targets }: Pick<CompiledPass, 'tokens' | 'targets'>,
): Int32Array {
  const document_T = new Int32Array(tokens.length).fill(-1)
  targets.fill(-1)
  for (let row = 0; row * sequence < tokens.length; row++) {
    const { document, start, length } = rows[row % rows.length] as DocumentWindow
    const at = row * sequence
    const span = new Int32Array(length + 1)
    stream.read(start, span)
    for (let s = 0; s < sequence; s++) tokens[at + s] = span[s % length] as number
    if (row >= rows.length) continue
    targets.set(span.subarray(1), at)
    document_T.fill(document, at, at + length)
  }
  return document_T
}

function routerTrace(
  { report, expert_TK, gate_TK, position_TK, entropy_T }: RouterBuffers,
  { experts, prototypes }: MoeConfig,
): RouterTrace {
  const capacity = report.capacity ?? Infinity
  return {
    layer: report.layer,
    module: report.module,
    experts,
    prototypes,
    expert_TK: expert_TK.slice(),
    gate_TK: gate_TK.slice(),
    kept_TK: position_TK
      ? Uint8Array.from(position_TK, (position) => (position < capacity ? 1 : 0))
      : new Uint8Array(expert_TK.length).fill(1),
    entropy_T: entropy_T?.slice() ?? null,
  }
}
