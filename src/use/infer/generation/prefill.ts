/**
 * The pass over a prompt, or over a block of it: all tokens at once, as in training. It reads the keys and values of
 * earlier blocks from the cache, if there is one. Those of its own tokens are copied to their pages after it, for later
 * blocks and for decoding later tokens one by one.
 *
 * Programs have fixed shapes: `prompt-blocks.ts` says which. Positions after the last token are masked by causality here,
 * and by the decoder's mask later.
 */
import { sizeOf } from '../../../core/graph/shape.ts'
import { input, type KernelSet, type Tensor, withKernels } from '../../../core/graph/tensor.ts'
import type { RoutedModule } from '../../../core/model/config/moe-config.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { keysAndValues } from '../../../core/model/kv-cache.ts'
import type { RoutingReport } from '../../../core/model/moe.ts'
import { routedModules } from '../../../core/model/parameters.ts'
import { choicesName, logitsAt, transformer } from '../../../core/model/transformer.ts'
import type { Binding, Buffer, Executable, PortMemory, Runtime } from '../../../engine/contract/runtime.ts'
import { inputNameOf, type ModelStore } from '../../../train/step/store/model-store.ts'
import { QuantizedStore } from '../quantized/quantized-store.ts'
import type { RouterRows } from './collected-routes.ts'
import type { KeyValueCache } from './key-value-cache.ts'
import { PastPorts } from './past-ports.ts'
import type { PredeterminedExperts } from './predetermined-experts.ts'
import { type PromptBlock, paddedLength } from './prompt-blocks.ts'
import { StagedRows } from './staged-rows.ts'

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
  /** Whether keys and values are kept, in the cache of a run: {@link Prefill.runBlock}. Default: no. */
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

/** The pages of a text in a cache. */
export interface TextPages {
  readonly cache: KeyValueCache
  readonly pages: readonly number[]
}

interface Program {
  readonly executable: Executable
  readonly ports: Readonly<Record<string, PortMemory>>
  /** Bindings to the tables of a cache; null: a program that reads none. */
  readonly bindings: Map<KeyValueCache | null, Binding>
  readonly tokens: Int32Array
  /** Row of the last token, whose logits are computed. */
  readonly last: Int32Array
  readonly past: PastPorts | null
  /** Experts [T, K] of each routed module, for a random router. */
  readonly choices: readonly { layer: number; module: RoutedModule; choices_TK: Int32Array }[]
  readonly details: PrefillDetails
}

export class Prefill {
  /** Logits [V] for the token after the prompt. */
  readonly logits: Float32Array
  /** Details of the last run. */
  details = noDetails
  private readonly programs = new Map<string, Program>()
  private staged: StagedRows | null = null
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
   * Runs a whole prompt without a cache. Returns the logits [V] for the token after it.
   * @param tokens 1 to `sequence` ids, at positions 0, 1, ...
   */
  run(tokens: readonly number[], predetermined: PredeterminedExperts): Promise<Float32Array> {
    const padded = paddedLength(tokens.length, this.config.sequence)
    return this.compute(tokens, predetermined, { from: 0, count: tokens.length, tokens: padded, past: 0 }, null)
  }

  /**
   * Runs a block of a prompt. Returns the logits [V] for the token after it.
   * @param tokens The whole prompt, 1 to `sequence` ids, at positions 0, 1, ... of the text.
   * @param text Its pages: they have the keys and values of all earlier positions, and get those of the block.
   */
  async runBlock(
    tokens: readonly number[],
    predetermined: PredeterminedExperts,
    block: PromptBlock,
    text: TextPages,
  ): Promise<Float32Array> {
    const { from, count } = block
    const logits = await this.compute(tokens.slice(from, from + count), predetermined, block, text)
    await text.cache.write(text.pages, from, count, (table) => this.staging.of(table))
    return logits
  }

  private async compute(
    tokens: readonly number[],
    predetermined: PredeterminedExperts,
    block: PromptBlock,
    text: TextPages | null,
  ): Promise<Float32Array> {
    const { from } = block
    const program = await this.program(block, text?.cache.rows ?? 0)
    program.tokens.fill(0)
    program.tokens.set(tokens)
    program.last[0] = tokens.length - 1
    if (text) program.past?.set(from, (position) => text.cache.rowOf(text.pages, position))
    for (const { layer, module, choices_TK } of program.choices) {
      const choices = choices_TK.length / program.tokens.length
      for (let t = 0; t < program.tokens.length; t++) {
        const chosen = choices_TK.subarray(t * choices, (t + 1) * choices)
        predetermined.choose(layer, tokens[t] ?? 0, from + t, chosen, module)
      }
    }
    await this.bindingOf(program, text?.cache ?? null).run()
    this.details = program.details
    return this.logits
  }

  release(): void {
    for (const { bindings, executable } of this.programs.values()) {
      for (const binding of bindings.values()) binding.release()
      executable.release()
    }
    this.programs.clear()
    this.staged?.release()
    this.staged = null
  }

  /** Memory for the keys and values of a pass. */
  private get staging(): StagedRows {
    this.staged ??= new StagedRows(this.runtime, this.config)
    return this.staged
  }

  private bindingOf({ bindings, executable, ports, tokens, past }: Program, cache: KeyValueCache | null): Binding {
    const read = past ? cache : null
    const bound = bindings.get(read)
    if (bound) return bound
    const memory: Record<string, PortMemory> = { ...ports }
    for (const { name } of executable.model.inputs) {
      const table = read?.table(name)
      if (table) memory[name] = table
    }
    if (cache)
      for (const { name } of executable.model.outputs)
        if (cache.table(name)) memory[name] = this.staging.of(name, tokens.length)
    const binding = executable.bind(memory)
    bindings.set(read, binding)
    return binding
  }

  /** @param cacheRows Rows of the tables of keys and values. */
  private async program({ tokens: sequence, past: rows }: PromptBlock, cacheRows: number): Promise<Program> {
    const key = `${sequence} after ${rows} of ${rows > 0 ? cacheRows : 0}`
    const compiled = this.programs.get(key)
    if (compiled) return compiled
    const { config, store, cached, detailed } = this
    const parameters = store.trace()
    const past = rows > 0 ? new PastPorts(config, sequence, rows, cacheRows) : null
    const pass = { batch: 1, sequence, training: false, capacity: 'none' as const, ...past?.inputs }
    const { outputs, reports } = withKernels(prefillKernels(this.runtime, store), () => {
      const { x_TD, reports } = transformer(config, parameters, input('tokens', 'int32', [sequence]), pass)
      const logits = logitsAt(config, parameters, x_TD, input('last', 'int32', [1]))
      const tables = cached ? keysAndValues(config, x_TD) : {}
      return { outputs: { logits, ...tables, ...(detailed && { [activationsName]: x_TD }) }, reports }
    })
    const routes = detailed ? routesOf(config, reports) : { outputs: {}, ports: {}, routers: [] }
    const executable = await this.runtime.compile({ outputs: { ...outputs, ...routes.outputs } })

    const tokens = new Int32Array(sequence)
    const last = new Int32Array(1)
    const x_TD = new Float32Array(detailed ? sequence * config.width : 0)
    const choices: Program['choices'][number][] = []
    const ports: Record<string, PortMemory> = {
      ...{ ...parameters.ports(), tokens, last, logits: this.logits, ...routes.ports, ...past?.ports },
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
    const program = { executable, ports, bindings: new Map(), tokens, last, past, choices, details }
    this.programs.set(key, program)
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
