/**
 * Decodes one token at a time as a chain of stages (see src/core/model/token/decode.ts) with a key-value cache.
 *
 * Weights are fixed by a binding, so every expert gets a binding when it is first chosen. Runs are
 * synchronous: a stage takes a fraction of a millisecond, and switching threads would add a tenth of a millisecond. The
 * event loop runs between tokens.
 */
import type { Tensor } from '../../../core/graph/tensor.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { activatedExperts, SymbolicParameters } from '../../../core/model/parameters.ts'
import { type Rotation, rotationOf, writeAngles } from '../../../core/model/rotary.ts'
import { hasRouterWeights } from '../../../core/model/routing/routers.ts'
import { type DecodeStage, decodePrograms, expertMatrix, MASKED } from '../../../core/model/token/decode.ts'
import { nextTurn } from '../../../core/next-turn.ts'
import type { Binding, Executable, PortMemory, Runtime } from '../../../engine/contract/runtime.ts'
import type { ModelStore } from '../../../train/step/model-store.ts'
import type { KeyValueCache } from './key-value-cache.ts'
import type { PredeterminedExperts } from './predetermined-experts.ts'

/** Number of positions of the smallest programs; each larger size doubles it. */
const MIN_LENGTH = 256

interface Programs {
  /** Number of positions attended to. */
  readonly length: number
  readonly stages: readonly { readonly executable: Executable; readonly layer: DecodeStage['layer'] }[]
  readonly expert: Executable | null
  /** Bindings by executable, then by the layer and expert with which the executable begins. */
  readonly bindings: Map<Executable, Map<string, Binding>>
}

export class Decoder {
  private readonly runtime: Runtime
  private readonly config: ModelConfig
  private readonly store: ModelStore
  private readonly cache: KeyValueCache
  private readonly token = new Int32Array(1)
  private readonly position = new BigInt64Array(1)
  private readonly mask: Float32Array
  private readonly windowMask: Float32Array
  private readonly angles: { readonly cos: Float32Array; readonly sin: Float32Array }
  private readonly rotation: Rotation
  /** Factor of the expert that runs next; ids and gates of the K chosen experts. */
  private readonly weight = new Float32Array(1)
  private readonly experts: Int32Array
  private readonly gates: Float32Array
  private readonly logits: Float32Array
  private readonly memory: Readonly<Record<string, PortMemory>>
  private programs: Programs | undefined

  constructor(runtime: Runtime, config: ModelConfig, store: ModelStore, cache: KeyValueCache) {
    this.runtime = runtime
    this.config = config
    this.store = store
    this.cache = cache
    const { moe, width } = config
    this.mask = new Float32Array(config.sequence)
    this.windowMask = new Float32Array(config.sequence)
    this.rotation = rotationOf(config)
    const half = this.rotation.frequencies.length
    this.angles = { cos: new Float32Array(half), sin: new Float32Array(half) }
    this.experts = new Int32Array(moe ? activatedExperts(moe) : 0)
    // A router without weights gives every choice the same gate; a learned router overwrites the gates.
    this.gates = new Float32Array(this.experts.length).fill((moe?.routedScale ?? 1) / (moe?.k ?? 1))
    this.logits = new Float32Array(config.vocabulary)
    const { token, position, weight, experts, gates, logits } = this
    const [x, normed] = [new Float32Array(width), new Float32Array(width)]
    const rows = { x, 'x.next': x, normed, 'normed.next': normed }
    this.memory = { token, position, ...this.angles, weight, experts, gates, logits, ...rows }
  }

  /**
   * Logits [V] for the token after `token`, which is at `position` (from 0, below `sequence`), the first position
   * that is not in the cache. Adds `token` to the cache.
   */
  async step(token: number, position: number, predetermined: PredeterminedExperts): Promise<Float32Array> {
    await nextTurn()
    const programs = await this.programsFor(position)
    this.token[0] = token
    this.position[0] = BigInt(position)
    this.mask.fill(0, 0, position + 1).fill(MASKED, position + 1)
    const { moe, window, residualScale } = this.config
    if (window !== null) {
      this.windowMask.set(this.mask)
      this.windowMask.fill(MASKED, 0, Math.max(0, position + 1 - window))
    }
    writeAngles(this.rotation, position, this.angles)
    const isPredetermined = moe !== null && !hasRouterWeights(moe)
    const last = this.experts.length - 1
    let previousLayer: number | null = null
    for (const { executable, layer } of programs.stages) {
      if (previousLayer === null) this.binding(programs, executable).runSync()
      else {
        if (isPredetermined) predetermined.choose(previousLayer, token, position, this.experts)
        for (let k = 0; k <= last; k++) {
          this.weight[0] = residualScale * (this.gates[k] as number)
          const program = k < last ? (programs.expert as Executable) : executable
          this.binding(programs, program, previousLayer, this.experts[k]).runSync()
        }
      }
      previousLayer = layer
    }
    return this.logits
  }

  release(): void {
    if (!this.programs) return
    for (const [executable, bindings] of this.programs.bindings) {
      for (const binding of bindings.values()) binding.release()
      executable.release()
    }
    this.programs = undefined
  }

  private async programsFor(position: number): Promise<Programs> {
    if (this.programs && this.programs.length > position) return this.programs
    this.release()
    const { config, store, runtime } = this
    let longest = MIN_LENGTH
    while (longest <= position) longest *= 2
    const length = Math.min(longest, config.sequence)
    const traced = decodePrograms(config, new SymbolicParameters(store.specs, 'float32'), length)
    const compile = (outputs: Readonly<Record<string, Tensor>>) => runtime.compile({ outputs })
    const [expert, ...stages] = await Promise.all([
      traced.expert && compile(traced.expert),
      ...traced.stages.map(async ({ layer, outputs }) => ({ layer, executable: await compile(outputs) })),
    ])
    const executables = [...(expert ? [expert] : []), ...stages.map(({ executable }) => executable)]
    this.programs = { length, expert, stages, bindings: new Map(executables.map((each) => [each, new Map()])) }
    return this.programs
  }

  private binding({ bindings, length }: Programs, executable: Executable, layer = -1, expert = -1): Binding {
    const bindingsOf = bindings.get(executable) as Map<string, Binding>
    const key = `${layer}.${expert}`
    let binding = bindingsOf.get(key)
    if (!binding) {
      const { inputs, outputs } = executable.model
      binding = executable.bind(
        Object.fromEntries([...inputs, ...outputs].map(({ name }) => [name, this.at(name, length, layer, expert)])),
      )
      bindingsOf.set(key, binding)
    }
    return binding
  }

  /** Memory that a port of a program reads or writes. */
  private at(port: string, length: number, layer: number, expert: number): PortMemory {
    if (port === 'mask') return this.mask.subarray(0, length)
    if (port === 'mask.window') return this.windowMask.subarray(0, length)
    const matrix = expertMatrix(port)
    if (matrix !== null) return this.store.parameter(`layers.${layer}.moe.experts.{e}.${matrix}`, expert)
    return this.memory[port] ?? this.cache.rows(port, length) ?? this.store.parameter(port)
  }
}
