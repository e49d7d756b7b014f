/**
 * Ops of a caller's own: an op that Choir lacks, as ONNX operators with a gradient rule. They are what our own ops are
 * made of (`tensor.ts`), with checks of what a caller gives, and without an entry in the registry of our ops.
 */
import { UsageError } from '../errors.ts'
import type { DType, Shape } from './model.ts'
import { expectFields, isObject, shown } from './options.ts'
import { formatShape, sameShape } from './shape.ts'
import { applying, type Built, type EmitOptions, emitMany as emitNodes, isFloat, type Tensor } from './tensor.ts'

const dtypes: readonly DType[] = ['float32', 'float64', 'int32', 'int64', 'bool']

/**
 * One ONNX operator with one result, as a part of an op. It has no gradient; {@link defineOp} gives an op one.
 *
 * @param type Name of an operator of ONNX, such as `Abs`, or with `domain` of ONNX Runtime. A runtime that lacks it
 *   refuses the program when it is compiled.
 * @param options Shape and dtype of the result, which the runtime checks, and attributes: whole numbers are integers, and
 *   a real number is `{ float: 0.5 }`.
 * @throws UsageError if an argument is wrong
 */
export function emit(type: string, inputs: readonly Tensor[], options: EmitOptions): Tensor {
  expectFields(`options of emit, ${shown(type)},`, options, ['shape', 'dtype', 'domain', 'attributes'])
  const { shape, dtype = inputs?.[0]?.dtype, domain, attributes } = options
  const outputs = [{ dtype: dtype as DType, shape }]
  return emitMany(type, inputs, outputs, { ...(domain && { domain }), ...(attributes && { attributes }) })[0] as Tensor
}

/**
 * One ONNX operator with several results: see {@link emit}.
 * @param outputs Dtype and shape of each result.
 * @throws UsageError if an argument is wrong
 */
export function emitMany(
  type: string,
  inputs: readonly Tensor[],
  outputs: readonly { readonly dtype: DType; readonly shape: Shape }[],
  options: Pick<EmitOptions, 'domain' | 'attributes'> = {},
): Tensor[] {
  const subject = `operator ${shown(type)}`
  if (typeof type !== 'string' || !/^[A-Z]\w*$/.test(type))
    throw new UsageError(`invalid ${subject} (expected the name of an operator of ONNX, such as "Abs")`)
  if (!Array.isArray(inputs) || !inputs.every(isTensor))
    throw new UsageError(`invalid inputs of ${subject}: ${shown(inputs)} (expected a list of tensors)`)
  expectFields(`options of ${subject}`, options, ['domain', 'attributes'])
  const { domain } = options
  if (domain !== undefined && domain !== 'com.microsoft')
    throw new UsageError(`invalid domain of ${subject}: ${shown(domain)} (expected "com.microsoft", or none)`)
  if (!Array.isArray(outputs) || outputs.some((each) => !isObject(each)))
    throw new UsageError(`invalid outputs of ${subject}: ${shown(outputs)} (expected a list of { dtype, shape })`)
  for (const { dtype, shape } of outputs) {
    if (!dtypes.includes(dtype))
      throw new UsageError(`invalid dtype of ${subject}: ${shown(dtype)} (expected ${dtypes.join(', ')})`)
    if (!Array.isArray(shape) || !shape.every((size) => Number.isInteger(size) && size >= 0))
      throw new UsageError(`invalid shape of ${subject}: ${shown(shape)} (expected a list of whole numbers)`)
  }
  return emitNodes(type, inputs, outputs, options)
}

/**
 * Defines a differentiable op.
 *
 * @example |x|; at 0 the gradient is 0.
 * ```ts
 * const abs = defineOp('abs', (x: Tensor) => ({
 *   result: emit('Abs', [x], { shape: x.shape }),
 *   inputs: [x],
 *   gradient: (dy) => [dy && multiply(dy, emit('Sign', [x], { shape: x.shape }))],
 * }))
 * ```
 * @param name Name in profiles and errors.
 * @param build Makes the result from the arguments of the op, and returns it with the inputs that have gradients and
 *   the gradient rule. The rule may use any op.
 * @throws UsageError if the definition, or a gradient that its rule returns, is wrong
 */
export function defineOp<Args extends readonly unknown[], Result extends Tensor | readonly Tensor[]>(
  name: string,
  build: (...args: Args) => Built<Result>,
): (...args: Args) => Result {
  if (typeof name !== 'string' || name === '')
    throw new UsageError(`invalid name of an op: ${shown(name)} (expected text)`)
  if (typeof build !== 'function')
    throw new UsageError(`invalid op ${shown(name)}: ${shown(build)} (expected a function)`)
  return applying(name, (...args: Args) => checked(name, build(...args)))
}

/** The op with checks of what its functions return, so that a mistake is reported where it is made. */
function checked<Result extends Tensor | readonly Tensor[]>(name: string, built: Built<Result>): Built<Result> {
  const fault = (message: string) => new UsageError(`op ${name}: ${message}`)
  expectFields(`result of op ${name}`, built, ['result', 'inputs', 'gradient'])
  const { result, inputs, gradient } = built
  if (!(Array.isArray(result) ? result : [result]).every(isTensor)) throw fault('its result is no tensor')
  if (!Array.isArray(inputs) || !inputs.every(isTensor)) throw fault('its inputs are no list of tensors')
  if (typeof gradient !== 'function') throw fault(`its gradient is ${shown(gradient)} (expected a function)`)
  const rule: typeof gradient = (...outputs) => {
    const gradients = gradient(...outputs)
    if (!Array.isArray(gradients) || gradients.length !== inputs.length)
      throw fault(`its gradient rule returns ${lengthOf(gradients)} (expected ${inputs.length}, one for each input)`)
    for (const [i, { dtype, shape }] of inputs.entries()) {
      const found = gradients[i] as Tensor | undefined
      if (found === undefined || !isFloat(dtype)) continue
      if (!isTensor(found)) throw fault(`the gradient of its input ${i} is no tensor`)
      if (found.dtype !== dtype || !sameShape(found.shape, shape))
        throw fault(
          `the gradient of its input ${i} is ${found.dtype} ${formatShape(found.shape)} (expected ${dtype} ${formatShape(shape)})`,
        )
    }
    return gradients
  }
  return { result, inputs, gradient: rule }
}

const lengthOf = (gradients: unknown): string =>
  Array.isArray(gradients) ? `${gradients.length} gradients` : shown(gradients)

const isTensor = (value: unknown): value is Tensor =>
  isObject(value) && typeof value.dtype === 'string' && Array.isArray(value.shape) && isObject(value.source)
