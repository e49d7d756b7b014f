/**
 * The pass over a prompt: all tokens at once, as in training. It writes the keys and values of every layer
 * to the cache, if there is one, for decoding later tokens one by one.
 *
 * Programs have fixed shapes, so there is one for each power of two of the prompt's length. Positions after
 * the last token are masked by causality here, and by the decoder's mask later.
 */
import { sizeOf } from '../../../core/graph/shape.ts'
import { input, type KernelSet, withKernels } from '../../../core/graph/tensor.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { type RoutedModule, routedModules } from '../../../core/model/parameters.ts'
import { keysAndValues } from '../../../core/model/token/cache.ts'
import { choicesName, logitsAt, transformer } from '../../../core/model/transformer.ts'
import type { Binding, Executable, PortMemory, Runtime } from '../../../engine/contract/runtime.ts'
import type { ModelStore } from '../../../train/step/model-store.ts'
import { QuantizedStore } from '../quantized/quantized-store.ts'
import type { KeyValueCache } from './key-value-cache.ts'
import type { PredeterminedExperts } from './predetermined-experts.ts'

const MIN_LENGTH = 32

/**
 * The kernels of the pass. With float32 weights the CPU uses no kernels, because prompts are few and short. Otherwise
 * all kernels are used except the kernel of attention, which keeps keys and values inside.
 */
function prefillKernels({ device, kernels }: Runtime, store: ModelStore): KernelSet {
  const isPlain = device === 'cpu' && !(store instanceof QuantizedStore)
  const names = isPlain ? [] : [...kernels.names].filter((name) => name !== 'attention')
  return { ...kernels, names: new Set(names) }
}

interface Program {
  readonly executable: Executable
  readonly binding: Binding
  readonly tokens: Int32Array
  readonly position: Int32Array
  /** Experts [T, K] of each routed module, for a random router. */
  readonly choices: readonly { layer: number; module: RoutedModule; choices_TK: Int32Array }[]
}

export class Prefill {
  /** Logits [V] for the token after the prompt. */
  readonly logits: Float32Array
  private readonly programs = new Map<number, Program>()
  private readonly runtime: Runtime
  private readonly config: ModelConfig
  private readonly store: ModelStore
  private readonly cache: KeyValueCache | null

  /** @param cache Gets the keys and values; null: they are not kept. */
  constructor(runtime: Runtime, config: ModelConfig, store: ModelStore, cache: KeyValueCache | null) {
    this.runtime = runtime
    this.config = config
    this.store = store
    this.cache = cache
    this.logits = new Float32Array(config.vocabulary)
  }

  /**
   * Runs a prompt. Returns the logits [V] for the token after it.
   * @param tokens 1 to `sequence` ids, at positions 0, 1, ... of the cache.
   */
  async run(tokens: readonly number[], predetermined: PredeterminedExperts): Promise<Float32Array> {
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
    await program.binding.run()
    return this.logits
  }

  release(): void {
    for (const { binding, executable } of this.programs.values()) {
      binding.release()
      executable.release()
    }
    this.programs.clear()
  }

  private async program(sequence: number): Promise<Program> {
    const compiled = this.programs.get(sequence)
    if (compiled) return compiled
    const { config, store, cache } = this
    const parameters = store.trace()
    const pass = { batch: 1, sequence, training: false, capacity: 'none' as const }
    const outputs = withKernels(prefillKernels(this.runtime, store), () => {
      const { x_TD } = transformer(config, parameters, input('tokens', 'int32', [sequence]), pass)
      const logits = logitsAt(config, parameters, x_TD, input('position', 'int32', [1]))
      return { logits, ...(cache && keysAndValues(config, x_TD)) }
    })
    const executable = await this.runtime.compile({ outputs })

    const tokens = new Int32Array(sequence)
    const position = new Int32Array(1)
    const choices: Program['choices'][number][] = []
    const ports: Record<string, PortMemory> = { ...parameters.ports(), tokens, position, logits: this.logits }
    for (let layer = 0; layer < config.layers; layer++)
      for (const module of routedModules(config, layer)) {
        const port = executable.model.inputs.find(({ name }) => name === choicesName(layer, module))
        if (!port) continue
        const choices_TK = new Int32Array(sizeOf(port.shape))
        choices.push({ layer, module, choices_TK })
        ports[port.name] = choices_TK
      }
    for (const { name } of executable.model.outputs) {
      const rows = cache?.rows(name, sequence)
      if (rows) ports[name] = rows
    }
    const binding = executable.bind(ports)
    const program = { executable, binding, tokens, position, choices }
    this.programs.set(sequence, program)
    return program
  }
}
