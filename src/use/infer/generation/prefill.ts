/**
 * The pass over a prompt: all tokens at once, as in training. It writes the keys and values of every layer
 * to the cache, if there is one, for decoding later tokens one by one.
 *
 * Programs have fixed shapes, so there is one for each power of two of the prompt's length. Positions after
 * the last token are masked by causality here, and by the decoder's mask later.
 */
import { sizeOf } from '../../../core/graph/shape.ts'
import { input, type KernelSet, type Tensor, withKernels } from '../../../core/graph/tensor.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import type { RoutingReport } from '../../../core/model/moe.ts'
import { type RoutedModule, routedModules } from '../../../core/model/parameters.ts'
import { keysAndValues } from '../../../core/model/token/cache.ts'
import { choicesName, logitsAt, transformer } from '../../../core/model/transformer.ts'
import type { Binding, Buffer, Executable, PortMemory, Runtime } from '../../../engine/contract/runtime.ts'
import { inputNameOf, type ModelStore } from '../../../train/step/model-store.ts'
import type { RouterRows } from '../collected-routes.ts'
import { QuantizedStore } from '../quantized/quantized-store.ts'
import type { CachedContext } from './key-value-cache.ts'
import type { PredeterminedExperts } from './predetermined-experts.ts'

const MIN_LENGTH = 32

/**
 * The kernels of the pass. With float32 weights the CPU uses no kernels, because prompts are few and short. Otherwise
 * all kernels are used except the kernel of attention, which keeps keys and values inside.
 */
export function prefillKernels({ device, kernels }: Runtime, store: ModelStore): KernelSet {
  const isPlain = device === 'cpu' && !(store instanceof QuantizedStore)
  const names = isPlain ? [] : [...kernels.names].filter((name) => name !== 'attention')
  return { ...kernels, names: new Set(names) }
}

export interface PrefillOptions {
  /** Whether keys and values are kept, in the cache of a run. Default: no. */
  readonly cached?: boolean
  /** Whether the program has {@link PrefillDetails}. Default: no. */
  readonly detailed?: boolean
}

/** Results of a pass besides logits, keys and values. */
export interface PrefillDetails {
  /** Number of tokens of the program, with padding after the prompt. */
  readonly length: number
  /** The choices for each of these tokens. */
  readonly routers: readonly RouterRows[]
  /** Activations after the final norm [T, D]. */
  readonly x_TD: Float32Array
}

const noDetails: PrefillDetails = { length: 1, routers: [], x_TD: new Float32Array() }

interface Program {
  readonly executable: Executable
  readonly ports: Readonly<Record<string, PortMemory>>
  /** Bindings by the context that gets keys and values. */
  readonly bindings: Map<CachedContext | null, Binding>
  readonly tokens: Int32Array
  readonly position: Int32Array
  /** Experts [T, K] of each routed module, for a random router. */
  readonly choices: readonly { layer: number; module: RoutedModule; choices_TK: Int32Array }[]
  readonly details: PrefillDetails
}

export class Prefill {
  /** Logits [V] for the token after the prompt. */
  readonly logits: Float32Array
  /** Details of the last run. */
  details = noDetails
  private readonly programs = new Map<number, Program>()
  private readonly runtime: Runtime
  private readonly config: ModelConfig
  private readonly store: ModelStore
  private readonly cached: boolean
  private readonly detailed: boolean

  constructor(
    runtime: Runtime,
    config: ModelConfig,
    store: ModelStore,
    { cached = false, detailed = false }: PrefillOptions = {},
  ) {
    this.runtime = runtime
    this.config = config
    this.store = store
    this.cached = cached
    this.detailed = detailed
    this.logits = new Float32Array(config.vocabulary)
  }

  /**
   * Runs a prompt. Returns the logits [V] for the token after it.
   * @param tokens 1 to `sequence` ids, at positions 0, 1, ... of the cache.
   * @param context Gets the keys and values, if they are kept.
   */
  async run(
    tokens: readonly number[],
    predetermined: PredeterminedExperts,
    context: CachedContext | null = null,
  ): Promise<Float32Array> {
    let length = MIN_LENGTH
    while (length < tokens.length) length *= 2
    const program = await this.program(Math.min(length, this.config.sequence))
    program.tokens.fill(0)
    program.tokens.set(tokens)
    program.position[0] = tokens.length - 1
    for (const { layer, module, choices_TK } of program.choices) {
      const choices = choices_TK.length / program.tokens.length
      for (let t = 0; t < program.tokens.length; t++)
        predetermined.choose(layer, tokens[t] ?? 0, t, choices_TK.subarray(t * choices, (t + 1) * choices), module)
    }
    await this.bindingOf(program, context).run()
    this.details = program.details
    return this.logits
  }

  release(): void {
    for (const { bindings, executable } of this.programs.values()) {
      for (const binding of bindings.values()) binding.release()
      executable.release()
    }
    this.programs.clear()
  }

  private bindingOf({ bindings, executable, ports, tokens }: Program, context: CachedContext | null): Binding {
    const bound = bindings.get(context)
    if (bound) return bound
    const tables = executable.model.outputs.flatMap(({ name }) => {
      const rows = context?.rows(name, tokens.length)
      return rows ? [[name, rows] as const] : []
    })
    const binding = executable.bind({ ...ports, ...Object.fromEntries(tables) })
    bindings.set(context, binding)
    return binding
  }

  private async program(sequence: number): Promise<Program> {
    const compiled = this.programs.get(sequence)
    if (compiled) return compiled
    const { config, store, cached, detailed } = this
    const parameters = store.trace()
    const pass = { batch: 1, sequence, training: false, capacity: 'none' as const }
    const { outputs, reports } = withKernels(prefillKernels(this.runtime, store), () => {
      const { x_TD, reports } = transformer(config, parameters, input('tokens', 'int32', [sequence]), pass)
      const logits = logitsAt(config, parameters, x_TD, input('position', 'int32', [1]))
      const tables = cached ? keysAndValues(config, x_TD) : {}
      return { outputs: { logits, ...tables, ...(detailed && { [activationsName]: x_TD }) }, reports }
    })
    const routes = detailed ? routesOf(config, reports) : { outputs: {}, ports: {}, routers: [] }
    const executable = await this.runtime.compile({ outputs: { ...outputs, ...routes.outputs } })

    const tokens = new Int32Array(sequence)
    const position = new Int32Array(1)
    const x_TD = new Float32Array(detailed ? sequence * config.width : 0)
    const choices: Program['choices'][number][] = []
    const ports: Record<string, PortMemory> = {
      ...{ ...parameters.ports(), tokens, position, logits: this.logits, ...routes.ports },
      ...(detailed && { [activationsName]: x_TD }),
    }
    for (let layer = 0; layer < config.layers; layer++)
      for (const module of routedModules(config, layer)) {
        const port = executable.model.inputs.find(({ name }) => name === choicesName(layer, module))
        if (!port) continue
        const choices_TK = (routes.ports[port.name] ?? new Int32Array(sizeOf(port.shape))) as Int32Array
        choices.push({ layer, module, choices_TK })
        ports[port.name] = choices_TK
      }
    const details = { length: sequence, routers: routes.routers, x_TD }
    const program = { executable, ports, bindings: new Map(), tokens, position, choices, details }
    this.programs.set(sequence, program)
    return program
  }
}

/** Name of the output with the activations after the final norm. */
const activationsName = 'activations'

/** The choices of routers as outputs of a pass, and their memory. */
function routesOf({ moe }: ModelConfig, reports: readonly RoutingReport[]) {
  const outputs: Record<string, Tensor> = {}
  const ports: Record<string, Buffer> = {}
  const written = <B extends Buffer>(tensor: Tensor, name: string, buffer: B): B => {
    // The choices of a random router are an input, which cannot also be an output.
    const inputName = inputNameOf(tensor)
    if (!inputName) outputs[name] = tensor
    ports[inputName || name] = buffer
    return buffer
  }
  const { experts = 0, prototypes = 1 } = moe ?? {}
  const routers = reports.map(({ layer, module, choice: { expert_TK, gate_TK } }, i): RouterRows => {
    const size = sizeOf(expert_TK.shape)
    return {
      ...{ layer, module, experts, prototypes },
      expert_TK: written(expert_TK, `routes.${i}.experts`, new Int32Array(size)),
      gate_TK: written(gate_TK, `routes.${i}.gates`, new Float32Array(size)),
    }
  })
  return { outputs, ports, routers }
}
