/**
 * A model whose matrices are bfloat16, int8 or int4, without a copy in float32: one stream of text is limited by the
 * memory that each token reads, and such weights are half, a quarter or a seventh of those in float32. Norms, biases and
 * routers are float32, in a store of their own. The embedding table has at least 8 bits.
 *
 * Programs of a token compute with these weights (`src/core/graph/ops/quantized.ts`). Passes over many tokens, such as a
 * prompt or an evaluation, read them too, so they see the model that generates. The matrices are in arenas of their own,
 * so a model may have more bytes than an arena.
 */
import { UsageError } from '../../../core/errors.ts'
import { type QuantizedMatrix, quantizedOperand } from '../../../core/graph/ops/quantized.ts'
import { type Bits, quantizedBytes } from '../../../core/graph/quantized-layout.ts'
import type { Tensor } from '../../../core/graph/tensor.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { expertName, parameterSpecs } from '../../../core/model/parameters.ts'
import {
  type QuantizedParameter,
  quantizedInput,
  quantizedName,
  quantizedParameters,
} from '../../../core/model/quantized-matrices.ts'
import { bytes } from '../../../core/text/numbers.ts'
import { type Arena, type ArenaRange, floatsOf } from '../../../engine/contract/arena.ts'
import type { PortMemory, Runtime } from '../../../engine/contract/runtime.ts'
import { BESIDE_BYTES, type BorrowedScratch, type Memory, paddedFloats } from '../../../train/step/store/bank.ts'
import {
  type Beside,
  FloatParameters,
  type ModelStore,
  type TracedParameters,
} from '../../../train/step/store/model-store.ts'
import { type NamedTensor, parameterTensors } from '../../../train/step/store/named-tensors.ts'
import { ParameterStore } from '../../../train/step/store/store.ts'
import { roundMatrix } from './round-matrix.ts'
import { bitsOf, type QuantizedFormat } from './weight-format.ts'

const refusal = (format: QuantizedFormat, limit: string, expected: string): UsageError =>
  new UsageError(`invalid weights: "${format}" ${limit} (expected ${expected}, or the weights "float32")`)

/** Checks that a model can have quantized weights on a runtime. @throws UsageError if it cannot */
export function expectQuantized(format: QuantizedFormat, runtime: Pick<Runtime, 'device'>, config: ModelConfig): void {
  if (runtime.device !== 'cpu') throw refusal(format, 'is for the CPU', 'the device "cpu"')
  if (config.moe && config.moe.attention !== 'none')
    throw refusal(format, 'is not for experts in attention', 'a model with moe.attention "none"')
  if (config.moe?.router === 'own') throw refusal(format, 'is not for a router of your own', 'a built-in router')
  if (config.layer)
    throw refusal(format, `is not for the layer ${config.layer.own} of your own`, 'a model without model.layer')
}

/** Advice for a model that is too large in a format. */
const smaller: Readonly<Record<QuantizedFormat, string>> = {
  bf16: ' (try the weights "int8" or "int4")',
  int8: ' (try the weights "int4")',
  int4: '',
}

export class QuantizedStore implements ModelStore {
  readonly config: ModelConfig
  readonly format: QuantizedFormat
  readonly bits: Bits
  private readonly floats: ParameterStore
  private readonly parameters: ReadonlyMap<string, QuantizedParameter>
  private readonly ranges = new Map<string, ArenaRange>()
  /** The used memory of each arena of matrices. */
  private readonly matrices: ArenaRange[] = []

  /**
   * A store of zeros; {@link tensors} fills it.
   * @param scratch Scratch memory beside the float32 tensors, in floats.
   * @param maxArenaBytes Largest arena of matrices.
   */
  constructor(
    runtime: Memory,
    config: ModelConfig,
    format: QuantizedFormat,
    scratch: number,
    maxArenaBytes = runtime.maxArenaBytes,
  ) {
    this.config = config
    this.format = format
    this.bits = bitsOf[format]
    const all = quantizedParameters(config, this.bits)
    this.parameters = new Map(all.map((parameter) => [parameter.spec.name, parameter]))
    this.floats = new ParameterStore(
      runtime,
      parameterSpecs(config).filter(({ name }) => !this.parameters.has(name)),
      null,
      scratch,
    )
    this.place(runtime, all, maxArenaBytes)
  }

  private place(runtime: Memory, parameters: readonly QuantizedParameter[], maxArenaBytes: number): void {
    const most = (maxArenaBytes - BESIDE_BYTES) / 4
    const arenas: { floats: number; parameters: { name: string; start: number; count: number }[] }[] = []
    for (const { spec, count, inner, columns, bits } of parameters) {
      const words = (count * quantizedBytes(bits, inner, columns)) / 4
      if (words > most)
        throw refusal(this.format, `needs ${4 * words} bytes for ${spec.name}`, `at most ${4 * most} for one tensor`)
      if (arenas.length === 0 || (arenas.at(-1)?.floats ?? 0) + words > most) arenas.push({ floats: 0, parameters: [] })
      const arena = arenas.at(-1) as (typeof arenas)[number]
      arena.parameters.push({ name: spec.name, start: arena.floats, count: words })
      arena.floats += paddedFloats(words)
    }
    const needed = arenas.reduce((sum, { floats }) => sum + 4 * floats + BESIDE_BYTES, this.floats.byteLength)
    if (runtime.memoryBytes !== undefined && needed > runtime.memoryBytes)
      throw new UsageError(
        `the model is too large for this machine: its parameters as ${this.format} take ${bytes(needed)}, and it has ` +
          `${bytes(runtime.memoryBytes)} of memory${smaller[this.format]}`,
      )
    for (const { floats, parameters } of arenas) {
      const arena = runtime.createArena(4 * floats + BESIDE_BYTES)
      this.matrices.push({ arena, start: 0, count: floats })
      for (const { name, start, count } of parameters) this.ranges.set(quantizedName(name), { arena, start, count })
    }
  }

  get specs() {
    return this.floats.specs
  }

  get layout() {
    return this.floats.layout
  }

  /** Bytes of all arenas. */
  get byteLength(): number {
    return this.floats.byteLength + this.matrices.reduce((sum, { arena }) => sum + arena.byteLength, 0)
  }

  get beside(): Beside {
    const ofMatrices = this.matrices.map(({ arena }) => ({
      arena,
      start: arena.byteLength - BESIDE_BYTES,
      bytes: BESIDE_BYTES,
    }))
    return [...ofMatrices, ...this.floats.beside]
  }

  parameter(name: string, expert: number | null = null): ArenaRange {
    return this.floats.parameter(name, expert)
  }

  /** The memory of an input that has quantized weights; undefined for other inputs. */
  range(name: string): ArenaRange | undefined {
    return this.ranges.get(name)
  }

  borrowScratch(floats: number): BorrowedScratch | null {
    return this.floats.borrowScratch(floats)
  }

  trace(): TracedParameters {
    return new QuantizedParameters(this, this.parameters)
  }

  /** The memory of all tensors, from the beginning of each arena on: what a copy of the store contains. */
  get images(): ArenaRange[] {
    return [...this.matrices, ...this.floats.parameterRegions()]
  }

  /** Where each tensor is in {@link images}, as a text: only a store with the same places can use them. */
  places(): string {
    const indices = new Map(this.images.map(({ arena }, i) => [arena, i]))
    const floats = this.floats.specs.map(({ name }) => [name, this.floats.parameter(name)] as const)
    const all = [...this.ranges, ...floats]
    return JSON.stringify(all.map(([name, { arena, start, count }]) => [name, indices.get(arena), start, count]))
  }

  /**
   * The tensors of the model as those of a checkpoint, to be written in whole, one after the other. A matrix is rounded
   * when its last number is written, and only one is float32 at a time.
   */
  tensors(): NamedTensor[] {
    const floats = new Map(parameterTensors(this.floats).map((tensor) => [tensor.name, tensor]))
    const matrix: { floats: Float32Array<ArrayBuffer> } = { floats: new Float32Array(0) }
    return parameterSpecs(this.config).flatMap((spec): NamedTensor[] => {
      const parameter = this.parameters.get(spec.name)
      if (!parameter) return [floats.get(spec.name) as NamedTensor].filter(Boolean)
      const { count, inner, columns, bits } = parameter
      const words = quantizedBytes(bits, inner, columns) / 4
      const range = this.ranges.get(quantizedName(spec.name)) as ArenaRange
      return Array.from({ length: count }, (_, i): NamedTensor => {
        const packed = floatsOf({ ...range, start: range.start + i * words, count: words })
        const arena = new Rounding(matrix, inner * columns, async (weights) => {
          roundMatrix(weights, parameter, bits, new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength))
          // Rounding a large model takes seconds: signals are handled between tensors.
          await new Promise((resolve) => setTimeout(resolve))
        })
        return {
          name: spec.stacked ? expertName(spec.name, i) : spec.name,
          shape: spec.stacked ? spec.shape.slice(1) : spec.shape,
          range: { arena, start: 0, count: inner * columns },
        }
      })
    })
  }
}

/** An arena that is written from its first float to its last, and then rounded. */
class Rounding implements Arena {
  readonly host = null
  readonly byteLength: number
  private readonly shared: { floats: Float32Array<ArrayBuffer> }
  private readonly count: number
  private readonly done: (weights: Float32Array) => Promise<void>

  /** @param shared Memory that all matrices use in turn. */
  constructor(
    shared: { floats: Float32Array<ArrayBuffer> },
    count: number,
    done: (weights: Float32Array) => Promise<void>,
  ) {
    this.shared = shared
    this.count = count
    this.done = done
    this.byteLength = 4 * count
  }

  async read(start: number, length: number): Promise<Float32Array> {
    return this.weights().slice(start, start + length)
  }

  async write(start: number, values: Float32Array): Promise<void> {
    const weights = this.weights()
    weights.set(values, start)
    if (start + values.length === this.count) await this.done(weights)
  }

  release(): void {}

  private weights(): Float32Array {
    if (this.shared.floats.length < this.count) this.shared.floats = new Float32Array(this.count)
    return this.shared.floats.subarray(0, this.count)
  }
}

/** The parameters of a pass over many tokens, whose products read the quantized matrices. */
class QuantizedParameters extends FloatParameters {
  private readonly weights: QuantizedStore
  private readonly parameters: ReadonlyMap<string, QuantizedParameter>
  private readonly matrices = new Map<string, QuantizedMatrix>()

  constructor(store: QuantizedStore, parameters: ReadonlyMap<string, QuantizedParameter>) {
    super(store)
    this.weights = store
    this.parameters = parameters
  }

  override get(name: string): Tensor {
    const parameter = this.parameters.get(name)
    if (!parameter) return super.get(name)
    return quantizedOperand(this.matrix(name, parameter), parameter.transposed)
  }

  quantized(name: string): QuantizedMatrix | undefined {
    const parameter = this.parameters.get(name)
    return parameter && this.matrix(name, parameter)
  }

  override ports(): Record<string, PortMemory> {
    const matrices = [...this.matrices.keys()].map(quantizedName)
    return {
      ...super.ports(),
      ...Object.fromEntries(matrices.map((name) => [name, this.weights.range(name) as ArenaRange])),
    }
  }

  private matrix(name: string, parameter: QuantizedParameter): QuantizedMatrix {
    const known = this.matrices.get(name) ?? quantizedInput(parameter)
    this.matrices.set(name, known)
    return known
  }
}
