/**
 * Generating text with a trained model.
 *
 * Each token is a pass over the context so far. Passes have fixed shapes, so there is a program for
 * each power of two of the context length; what stands behind the last token is masked by causality.
 * Experts have no capacity limit here: a token's text must not depend on what else is in the batch.
 */
import { input, toOnnx } from '../graph/index.ts'
import type { ModelConfig } from '../model/config.ts'
import { SymbolicParameters } from '../model/parameters.ts'
import { choicesName, logitsAt, transformer } from '../model/transformer.ts'
import type { Binding, Executable, Runtime } from '../runtime/index.ts'
import { nameOf } from './pass.ts'
import { drawDistinct, type Random, randomFor } from './random.ts'
import { type SamplingOptions, sample } from './sampling.ts'
import type { ParameterStore } from './store.ts'

const SHORTEST = 16

interface Step {
  readonly executable: Executable
  readonly binding: Binding
  readonly tokens: Int32Array
  readonly position: Int32Array
  readonly logits: Float32Array
  readonly choices: readonly Int32Array[]
}

export class Generator {
  private readonly steps = new Map<number, Step>()
  private readonly runtime: Runtime
  private readonly config: ModelConfig
  private readonly store: ParameterStore

  constructor(runtime: Runtime, config: ModelConfig, store: ParameterStore) {
    this.runtime = runtime
    const moe = config.moe && { ...config.moe, capacity: 'none' as const, groups: 1, compute: 'ragged' as const }
    this.config = { ...config, moe }
    this.store = store
  }

  /**
   * Tokens that follow `prompt` (at least one id), without end.
   * @param vocabulary Ids that may be drawn: 0 to vocabulary − 1.
   */
  async *tokens(
    prompt: readonly number[],
    vocabulary: number,
    options: SamplingOptions,
    seed: number,
  ): AsyncGenerator<number, never> {
    const random = randomFor(seed, 'generate')
    const context = [...prompt]
    for (;;) {
      const logits = await this.logits(context.slice(-this.config.sequence), random)
      const next = sample(logits, vocabulary, options, random)
      context.push(next)
      yield next
    }
  }

  release(): void {
    for (const { binding, executable } of this.steps.values()) {
      binding.release()
      executable.release()
    }
    this.steps.clear()
  }

  /** Logits [V] of the token after the context. */
  private async logits(context: readonly number[], random: Random): Promise<Float32Array> {
    const { sequence, moe } = this.config
    let length = SHORTEST
    while (length < context.length) length *= 2
    const step = await this.step(Math.min(length, sequence))
    step.tokens.fill(0)
    step.tokens.set(context)
    step.position[0] = context.length - 1
    if (moe) for (const choices of step.choices) drawDistinct(choices, moe.k, moe.experts, random)
    await step.binding.run()
    return step.logits
  }

  private async step(sequence: number): Promise<Step> {
    const known = this.steps.get(sequence)
    if (known) return known
    const { config, store } = this
    const parameters = new SymbolicParameters(store.specs, 'float32')
    const pass = { batch: 1, sequence, training: false }
    const { x_TD } = transformer(config, parameters, input('tokens', 'int32', [sequence]), pass)
    const logits = logitsAt(config, parameters, x_TD, input('position', 'int32', [1]))
    const executable = await this.runtime.compile(toOnnx({ outputs: { logits } }))
    const buffers = {
      tokens: new Int32Array(sequence),
      position: new Int32Array(1),
      logits: new Float32Array(config.vocabulary),
    }
    const choices = Object.fromEntries(
      executable.model.inputs
        .filter(({ name }) => Array.from({ length: config.layers }, (_, l) => choicesName(l)).includes(name))
        .map(({ name, shape }) => [name, new Int32Array(shape.reduce((a, b) => a * b, 1))]),
    )
    const binding = executable.bind({
      ...buffers,
      ...choices,
      ...Object.fromEntries(
        parameters.used.map(({ spec, expert, tensor }) => [nameOf(tensor), store.parameter(spec.name, expert)]),
      ),
    })
    const step = { executable, binding, ...buffers, choices: Object.values(choices) }
    this.steps.set(sequence, step)
    return step
  }
}
