/**
 * The weights of a model as int8, for the kernels of a token (src/core/graph/ops/int8.ts). The memory that a token
 * reads is half of what limits one stream of text, and int8 weights are a quarter of that memory.
 *
 * The float32 parameters of the store are rounded to the same values, so that the prompt of a text, an evaluation and
 * a trace see the model that generates. Both formats are in memory.
 */
import { UsageError } from '../../../core/errors.ts'
import { int8Bytes } from '../../../core/graph/int8-layout.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { int8Name, int8Parameters } from '../../../core/model/int8-matrices.ts'
import { type ArenaRange, floatsOf } from '../../../engine/contract/arena.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { paddedFloats } from '../../../train/step/bank.ts'
import type { ParameterStore } from '../../../train/step/store.ts'
import { roundMatrix } from './round-matrix.ts'

/** Scratch memory in the store that {@link Int8Weights} need, in floats. */
export const int8Scratch = (config: ModelConfig): number =>
  int8Parameters(config).reduce((sum, parameter) => sum + floatsIn(parameter), 0)

const floatsIn = ({ count, inner, columns }: { count: number; inner: number; columns: number }): number =>
  paddedFloats((count * int8Bytes(inner, columns)) / 4)

const refusal = (limit: string, expected: string): UsageError =>
  new UsageError(`invalid weights: "int8" ${limit} (expected ${expected}, or the weights "float32")`)

/** Checks that a model can have int8 weights on a runtime. @throws UsageError if it cannot */
export function expectInt8(runtime: Runtime, config: ModelConfig): void {
  if (runtime.device !== 'cpu') throw refusal('is for the CPU', 'the device "cpu"')
  if (config.moe && config.moe.attention !== 'none')
    throw refusal('is not for experts in attention', 'a model with moe.attention "none"')
  if (config.moe?.router === 'own') throw refusal('is not for a router of your own', 'a built-in router')
  if (int8Scratch(config) * 4 > runtime.maxArenaBytes / 4) throw tooLarge()
}

const tooLarge = () => refusal('is for models of up to 4 GiB in both formats', 'a smaller model')

export class Int8Weights {
  private readonly ranges: ReadonlyMap<string, ArenaRange>

  private constructor(ranges: ReadonlyMap<string, ArenaRange>) {
    this.ranges = ranges
  }

  /**
   * Rounds the parameters of the store.
   * @throws UsageError if the store has no room for the int8 weights
   */
  static async round(config: ModelConfig, store: ParameterStore): Promise<Int8Weights> {
    const memory = store.borrowScratch(int8Scratch(config))
    if (!memory) throw tooLarge()
    const ranges = new Map<string, ArenaRange>()
    for (const parameter of int8Parameters(config)) {
      const { spec, count, inner, columns } = parameter
      const range = memory.take(floatsIn(parameter))
      const words = int8Bytes(inner, columns) / 4
      ranges.set(int8Name(spec.name), { ...range, count: count * words })
      for (let i = 0; i < count; i++) {
        const weights = floatsOf(store.parameter(spec.name, spec.stacked ? i : null))
        const packed = floatsOf({ ...range, start: range.start + i * words, count: words })
        roundMatrix(weights, parameter, new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength))
      }
      // Rounding a large model takes seconds: signals are handled between tensors.
      await new Promise((resolve) => setTimeout(resolve))
    }
    return new Int8Weights(ranges)
  }

  /** The memory of an input that has int8 weights; undefined for other inputs. */
  range(name: string): ArenaRange | undefined {
    return this.ranges.get(name)
  }
}
