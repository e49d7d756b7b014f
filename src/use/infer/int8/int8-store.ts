/**
 * A model whose matrices are int8 and nothing else: the memory that a token reads is half of what limits one stream of
 * text, and int8 weights are a quarter of it. Norms, biases, routers and tables whose rows are looked up are float32,
 * in a store of their own.
 *
 * Programs of a token compute with int8 (`src/core/graph/ops/int8.ts`). Passes over many tokens, such as a prompt or an
 * evaluation, make one matrix after the other float32, so they see the model that generates. The matrices are in
 * arenas of their own, so a model may have more bytes than an arena.
 */
import { UsageError } from '../../../core/errors.ts'
import { int8Bytes } from '../../../core/graph/int8-layout.ts'
import { type Int8Matrix, int8Expand } from '../../../core/graph/ops/int8.ts'
import type { Tensor } from '../../../core/graph/tensor.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { type Int8Parameter, int8Input, int8Name, int8Parameters } from '../../../core/model/int8-matrices.ts'
import { expertName, parameterSpecs } from '../../../core/model/parameters.ts'
import { type Arena, type ArenaRange, floatsOf } from '../../../engine/contract/arena.ts'
import type { PortMemory, Runtime } from '../../../engine/contract/runtime.ts'
import { type BorrowedScratch, type Memory, paddedFloats } from '../../../train/step/bank.ts'
import { FloatParameters, type ModelStore, type TracedParameters } from '../../../train/step/model-store.ts'
import { type NamedTensor, parameterTensors } from '../../../train/step/named-tensors.ts'
import { ParameterStore } from '../../../train/step/store.ts'
import { roundMatrix } from './round-matrix.ts'

const refusal = (limit: string, expected: string): UsageError =>
  new UsageError(`invalid weights: "int8" ${limit} (expected ${expected}, or the weights "float32")`)

/** Checks that a model can have int8 weights on a runtime. @throws UsageError if it cannot */
export function expectInt8(runtime: Pick<Runtime, 'device'>, config: ModelConfig): void {
  if (runtime.device !== 'cpu') throw refusal('is for the CPU', 'the device "cpu"')
  if (config.moe && config.moe.attention !== 'none')
    throw refusal('is not for experts in attention', 'a model with moe.attention "none"')
  if (config.moe?.router === 'own') throw refusal('is not for a router of your own', 'a built-in router')
}

/** Bytes of scratch memory in each arena of int8 weights, for the rows of all threads. */
const SCRATCH_BYTES = 2 ** 24

export class Int8Store implements ModelStore {
  readonly config: ModelConfig
  private readonly floats: ParameterStore
  private readonly parameters: ReadonlyMap<string, Int8Parameter>
  private readonly ranges = new Map<string, ArenaRange>()
  private readonly arenas: Arena[] = []

  /** A store of zeros; {@link tensors} fills it. @param scratch Scratch memory beside the float32 tensors, in floats. */
  constructor(runtime: Memory, config: ModelConfig, scratch: number) {
    this.config = config
    const all = int8Parameters(config)
    this.parameters = new Map(all.map((parameter) => [parameter.spec.name, parameter]))
    // The table of a tied head is looked up too, so it is in both formats.
    const isFloat = (name: string) => !this.parameters.has(name) || (config.tied && name === 'embedding')
    this.floats = new ParameterStore(
      runtime,
      parameterSpecs(config).filter(({ name }) => isFloat(name)),
      null,
      scratch,
    )
    this.place(runtime, all)
  }

  private place(runtime: Memory, parameters: readonly Int8Parameter[]): void {
    const most = (runtime.maxArenaBytes - SCRATCH_BYTES) / 4
    const arenas: { floats: number; parameters: { name: string; start: number; count: number }[] }[] = []
    for (const { spec, count, inner, columns } of parameters) {
      const words = (count * int8Bytes(inner, columns)) / 4
      if (words > most) throw refusal(`needs ${4 * words} bytes for ${spec.name}`, `at most ${4 * most} for one tensor`)
      if (arenas.length === 0 || (arenas.at(-1)?.floats ?? 0) + words > most) arenas.push({ floats: 0, parameters: [] })
      const arena = arenas.at(-1) as (typeof arenas)[number]
      arena.parameters.push({ name: spec.name, start: arena.floats, count: words })
      arena.floats += paddedFloats(words)
    }
    for (const { floats, parameters } of arenas) {
      const arena = runtime.createArena(4 * floats + SCRATCH_BYTES)
      this.arenas.push(arena)
      for (const { name, start, count } of parameters) this.ranges.set(int8Name(name), { arena, start, count })
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
    return this.floats.byteLength + this.arenas.reduce((sum, { byteLength }) => sum + byteLength, 0)
  }

  /** Scratch memory in the arenas of int8 weights. */
  get beside() {
    return this.arenas.map((arena) => ({ arena, start: arena.byteLength - SCRATCH_BYTES, bytes: SCRATCH_BYTES }))
  }

  parameter(name: string, expert: number | null = null): ArenaRange {
    return this.floats.parameter(name, expert)
  }

  /** The memory of an input that has int8 weights; undefined for other inputs. */
  range(name: string): ArenaRange | undefined {
    return this.ranges.get(name)
  }

  borrowScratch(floats: number): BorrowedScratch | null {
    return this.floats.borrowScratch(floats)
  }

  trace(): TracedParameters {
    return new Int8Parameters(this, this.parameters)
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
      const { count, inner, columns } = parameter
      const words = int8Bytes(inner, columns) / 4
      const range = this.ranges.get(int8Name(spec.name)) as ArenaRange
      return Array.from({ length: count }, (_, i): NamedTensor => {
        const packed = floatsOf({ ...range, start: range.start + i * words, count: words })
        const table = floats.get(spec.name)
        const arena = new Rounding(matrix, inner * columns, async (weights) => {
          roundMatrix(weights, parameter, new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength))
          await table?.range.arena.write(table.range.start, weights)
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

/** The parameters of a pass over many tokens: matrices of int8 become float32 where they are read. */
class Int8Parameters extends FloatParameters {
  private readonly weights: Int8Store
  private readonly parameters: ReadonlyMap<string, Int8Parameter>
  private readonly matrices = new Map<string, Int8Matrix>()
  private readonly expanded = new Map<string, Tensor>()

  constructor(store: Int8Store, parameters: ReadonlyMap<string, Int8Parameter>) {
    super(store)
    this.weights = store
    this.parameters = parameters
  }

  override get(name: string): Tensor {
    const parameter = this.parameters.get(name)
    // The table of a tied head is float32 too.
    if (!parameter || this.weights.specs.some((spec) => spec.name === name)) return super.get(name)
    const known = this.expanded.get(name) ?? int8Expand(this.matrix(name, parameter), parameter.transposed)
    this.expanded.set(name, known)
    return known
  }

  int8(name: string): Int8Matrix | undefined {
    const parameter = this.parameters.get(name)
    return parameter && this.matrix(name, parameter)
  }

  override ports(): Record<string, PortMemory> {
    const matrices = [...this.matrices.keys()].map(int8Name)
    return {
      ...super.ports(),
      ...Object.fromEntries(matrices.map((name) => [name, this.weights.range(name) as ArenaRange])),
    }
  }

  private matrix(name: string, parameter: Int8Parameter): Int8Matrix {
    const known = this.matrices.get(name) ?? int8Input(parameter)
    this.matrices.set(name, known)
    return known
  }
}
