/**
 * The routing of a trained model, token by token.
 *
 * Think of evaluation with the routers' decisions written down. The program is the one that evaluates
 * under a capacity rule, with the same batch, and has the choices as outputs besides. Text comes as windows
 * of documents; what fills up a short window or the last batch repeats them, and is marked, so that nobody
 * counts it. At a capacity it takes room in experts nevertheless, and may be why a token is dropped: who
 * looks at single tokens traces dropless.
 */
import type { DocumentWindow } from '../data/document-windows.ts'
import type { TokenStream } from '../data/streams/token-stream.ts'
import { sizeOf } from '../graph/shape.ts'
import { type Tensor, withKernels } from '../graph/tensor.ts'
import type { ModelConfig, MoeConfig } from '../model/config.ts'
import type { RoutingReport } from '../model/moe.ts'
import type { RoutedModule } from '../model/parameters.ts'
import type { CapacityRule } from '../model/routing/contract.ts'
import type { Buffer, Runtime } from '../runtime/contract.ts'
import { configUnder } from '../step/capacity-rules.ts'
import { CompiledPass, nameOf, tracePass } from '../step/pass.ts'
import type { ParameterStore } from '../step/store.ts'

/** The choices of a router; K = prototypes · k, those of a prototype side by side. */
export interface RouterTrace {
  readonly layer: number
  readonly module: RoutedModule
  /** Experts of the router, in all prototypes. */
  readonly experts: number
  readonly prototypes: number
  /** Id of the expert of each choice, 0 to experts − 1. */
  readonly expert_TK: Int32Array
  readonly gate_TK: Float32Array
  /** 1: computed by the expert; 0: dropped, since the expert was full. */
  readonly kept_TK: Uint8Array
}

/** What happened to a batch. Its arrays are the caller's. */
export interface BatchTrace {
  /** Row b of the batch, tokens b·S and on, holds window b; more rows than windows are filler. */
  readonly windows: readonly DocumentWindow[]
  /** Token ids [B · S]. */
  readonly token_T: Int32Array
  /** Index of the document of each token [B · S]; −1 for a token that fills up and does not count. */
  readonly document_T: Int32Array
  /** Mean cross-entropy of the tokens that count, nats. */
  readonly loss: number
  /** In the order in which they are computed, which is that of routing.jsonl. */
  readonly routers: readonly RouterTrace[]
}

/** Where a router's choices are written by a run. */
interface RouterBuffers {
  readonly report: RoutingReport
  readonly expert_TK: Int32Array
  readonly gate_TK: Float32Array
  /** Null where nothing can be dropped. */
  readonly position_TK: Int32Array | null
}

/** A compiled pass that writes down its routing. */
export class RoutingTracer {
  private readonly pass: CompiledPass
  private readonly routers: readonly RouterBuffers[]
  private readonly moe: MoeConfig
  private readonly shape: { readonly batch: number; readonly sequence: number }
  private readonly seed: number

  private constructor(
    pass: CompiledPass,
    routers: readonly RouterBuffers[],
    moe: MoeConfig,
    shape: { readonly batch: number; readonly sequence: number },
    seed: number,
  ) {
    this.pass = pass
    this.routers = routers
    this.moe = moe
    this.shape = shape
    this.seed = seed
  }

  /**
   * @param batch Sequences at a time: as many as in a training micro-batch, since capacity depends on it.
   * @param seed Of the choices of a random router.
   * @param capacity With `none` an `expert-choice` model is traced as it generates: every token takes its top k.
   */
  static async compile(
    runtime: Runtime,
    config: ModelConfig & { readonly moe: MoeConfig },
    store: ParameterStore,
    batch: number,
    seed: number,
    capacity: CapacityRule,
  ): Promise<RoutingTracer> {
    const used = configUnder(config, capacity)
    const shape = { batch, sequence: config.sequence }
    const traced = withKernels(runtime.kernels, () => tracePass(used, store, { ...shape, training: false, capacity }))
    const outputs: Record<string, Tensor> = {}
    const buffers: Record<string, Buffer> = {}
    const written = <B extends Buffer>(tensor: Tensor, name: string, buffer: B): B => {
      // The choices of a random router are an input, which cannot be an output as well.
      const given = nameOf(tensor)
      if (!given) outputs[name] = tensor
      buffers[given || name] = buffer
      return buffer
    }
    const routers = traced.losses.reports.map((report, i): RouterBuffers => {
      const { choice, position_TK, capacity } = report
      const size = sizeOf(choice.expert_TK.shape)
      const name = `trace.${i}`
      return {
        report,
        expert_TK: written(choice.expert_TK, `${name}.expert`, new Int32Array(size)),
        gate_TK: written(choice.gate_TK, `${name}.gate`, new Float32Array(size)),
        position_TK: capacity === null ? null : written(position_TK, `${name}.position`, new Int32Array(size)),
      }
    })
    const pass = await CompiledPass.compile(runtime, used, store, traced, outputs, buffers)
    return new RoutingTracer(pass, routers, config.moe, shape, seed)
  }

  /**
   * Runs windows of a stream, a batch at a time and in the order given.
   * @param stream Holds one token more than the last window: its target.
   */
  async *trace(stream: TokenStream, windows: readonly DocumentWindow[]): AsyncGenerator<BatchTrace, void> {
    const { pass, shape } = this
    for (let from = 0; from < windows.length; from += shape.batch) {
      const rows = windows.slice(from, from + shape.batch)
      const document_T = fill(stream, rows, shape.sequence, pass)
      pass.drawChoices(this.seed, 'trace', from)
      await pass.run()
      yield {
        windows: rows,
        token_T: pass.tokens.slice(),
        document_T,
        loss: pass.loss,
        routers: this.routers.map((router) => routerTrace(router, this.moe)),
      }
    }
  }

  release(): void {
    this.pass.release()
  }
}

/** Fills a batch with a window a row; returns the document of each token. */
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
  { report, expert_TK, gate_TK, position_TK }: RouterBuffers,
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
  }
}
