/**
 * Small ONNX models of one or a few operators, which run on memory given by addresses.
 *
 * ONNX Runtime computes with a fast library (MLAS), which can be called only through a model. A run of a bound model
 * takes one or two microseconds more than its arithmetic, which is little beside the work of a task. Sizes of the
 * models are free, so one model serves all shapes.
 */
import { toOnnx } from '../../../../core/graph/onnx.ts'
import type { Tensor } from '../../../../core/graph/tensor.ts'
import { RuntimeError } from '../../../contract/runtime.ts'
import { addressOf, Out, type Pointer, type Strings, stringArray } from '../../../native/ffi.ts'
import { createSessionNow } from '../../onnxruntime/compile.ts'
import type { Environment } from '../../onnxruntime/environment.ts'
import { expectSuccess, takeFailure } from '../../onnxruntime/errors.ts'
import type { OrtRun } from '../ort-run.ts'
import type { Runnable } from '../primitives.ts'

const FLOAT = 1

/**
 * A compiled model for the calling thread. It is never released: there are only as many models as kinds of operations.
 * Input `i` is operand i of an operation.
 */
export class SmallModel {
  readonly environment: Environment
  readonly session: Pointer
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly inputNames: Strings
  readonly outputNames: Strings

  constructor(environment: Environment, outputs: readonly Tensor[]) {
    const named = Object.fromEntries(outputs.map((tensor, i) => [`y${i}`, tensor]))
    const model = toOnnx({ outputs: named }, { anonymous: true })
    this.environment = environment
    this.session = createSessionNow(environment, model)
    this.inputs = model.inputs.map(({ name }) => name)
    this.inputNames = stringArray(this.inputs)
    this.outputs = Object.keys(named)
    this.outputNames = stringArray(this.outputs)
  }
}

/** Largest number of addresses of an operand for which an OrtValue is kept. */
const MAX_VALUES = 128

/** Tensors of one shape over memory given by addresses. */
class Operand {
  private readonly environment: Environment
  private readonly shape: BigInt64Array
  private readonly bytes: number
  private readonly values = new Map<number, Pointer>()

  constructor(environment: Environment, shape: readonly number[]) {
    this.environment = environment
    this.shape = BigInt64Array.from(shape, BigInt)
    this.bytes = 4 * shape.reduce((product, side) => product * side, 1)
  }

  /** The value at an address. Values of other addresses may be released. */
  at(address: number): Pointer {
    let value = this.values.get(address)
    if (value === undefined) {
      if (this.values.size >= MAX_VALUES) this.release()
      value = this.createValue(BigInt(address))
      this.values.set(address, value)
    }
    return value
  }

  private createValue(address: Pointer): Pointer {
    const { api, userMemory } = this.environment
    const { shape, bytes } = this
    const out = new Out()
    expectSuccess(
      api,
      api.CreateTensorWithDataAsOrtValue(
        userMemory,
        address,
        bytes,
        addressOf(shape),
        shape.length,
        FLOAT,
        out.address,
      ),
    )
    return out.value
  }

  release(): void {
    for (const value of this.values.values()) this.environment.api.ReleaseValue(value)
    this.values.clear()
  }
}

export interface OperationShape {
  /** Shapes of the operands of one item, in the order of addresses. Operand o of item i is i · operands + o. */
  readonly operands: readonly (readonly number[])[]
  /** Indices of the operands that are results. They may be inputs too. */
  readonly results: readonly number[]
  /**
   * The batch of a model of `count` equal items; `steps` are the bytes from each operand of an item to the next item's.
   */
  readonly batch?: { readonly count: number; readonly steps: readonly number[] }
}

/** A model with the shapes of its operands. */
export class Operation implements Runnable {
  used = 0
  private readonly ortRun: OrtRun
  private readonly model: SmallModel
  private readonly shape: OperationShape
  private readonly operands: readonly Operand[]
  /** The address that each operand had last. */
  private readonly last: number[]
  /** The place of each operand among the inputs; −1 if it is no input. */
  private readonly places: readonly number[]
  private readonly inputs: BigUint64Array
  private readonly outputs: BigUint64Array
  /** Arguments of OrtApi.Run. */
  private readonly args: readonly number[]

  constructor(ortRun: OrtRun, model: SmallModel, shape: OperationShape) {
    const { environment, session, inputNames, outputNames } = model
    const count = shape.batch?.count ?? 1
    this.ortRun = ortRun
    this.model = model
    this.shape = shape
    const all = Array.from({ length: count }, () => shape.operands).flat()
    this.operands = all.map((sizes) => new Operand(environment, sizes))
    this.last = all.map(() => -1)
    this.places = all.map((_, operand) => model.inputs.indexOf(`${operand}`))
    this.inputs = new BigUint64Array(model.inputs.length)
    this.outputs = new BigUint64Array(count * shape.results.length)
    const [inputs, outputs] = [Number(addressOf(this.inputs)), Number(addressOf(this.outputs))]
    const [names, outputName] = [Number(inputNames.address), Number(outputNames.address)]
    this.args = [Number(session), 0, names, inputs, this.inputs.length, outputName, this.outputs.length, outputs]
  }

  run(...addresses: number[]): void {
    const { last } = this
    const { operands, batch } = this.shape
    for (let i = 0, at = 0; at < last.length; i++)
      for (let o = 0; o < operands.length; o++, at++) {
        const address = (addresses[o] as number) + (batch ? i * (batch.steps[o] as number) : 0)
        if (last[at] !== address) this.move(at, o, i, address)
      }
    const status = this.ortRun(...this.args)
    if (status !== 0) throw this.failure(status)
  }

  private move(at: number, o: number, item: number, address: number): void {
    const value = (this.operands[at] as Operand).at(address)
    this.last[at] = address
    const place = this.places[at] as number
    if (place >= 0) this.inputs[place] = value
    const { results } = this.shape
    const result = results.indexOf(o)
    if (result >= 0) this.outputs[item * results.length + result] = value
  }

  private failure(status: number): RuntimeError {
    const failure = takeFailure(this.model.environment.api, BigInt(status))
    return new RuntimeError(`ONNX Runtime failed to run a primitive: ${failure?.message}`)
  }

  destroy(): void {
    for (const operand of this.operands) operand.release()
  }
}
