/**
 * Declarations of kernels, which are the parts of a program that run outside ONNX Runtime.
 *
 * Think of a declaration as the signature of a function that each engine implements for itself. It names the operands
 * and the results, gives the shapes of the results, and says what matters when a program is cut into stages. Ops call
 * it (`emitKernel`), engines implement it (`Kernel<typeof gatherRows>` in their `contract.ts`), and conformance suites
 * compare what they compute; all of them name the declaration, so the compiler checks every operand.
 *
 * @example
 * ```ts
 * /** y = factor · x, in memory of its own. *\/
 * export const scale = declareKernel({
 *   name: 'scale',
 *   inputs: ['x', 'factor?'],
 *   outputs: ['y'],
 *   results: ({ x }) => ({ y: x }),
 * })
 *
 * const { y } = emitKernel(scale, { x })
 * ```
 */
import type { DType, Shape } from '../model.ts'
import { type AttributeValue, emitNode, kernelNames, type Tensor } from '../tensor.ts'

/** The name of an operand without the `?` that declares it optional. */
export type OperandName<Declared extends string> = Declared extends `${infer Name}?` ? Name : Declared

/** A value for each operand, by name. Operands whose declared name ends with `?` may be absent. */
export type Operands<Declared extends string, T> = {
  readonly [Name in Declared as Name extends `${string}?` ? never : Name]: T
} & { readonly [Name in Declared as Name extends `${infer Optional}?` ? Optional : never]?: T | undefined }

export type Attributes = Readonly<Record<string, AttributeValue>>

/** The dtype and the shape of a result, which are known before it is computed. */
export interface Result {
  readonly dtype: DType
  readonly shape: Shape
}

export interface KernelDeclaration<In extends string, Out extends string, Given extends Attributes> {
  /** Name in profiles and messages. */
  readonly name: string
  /** Names of the operands, in their order; one that ends with `?` may be absent. */
  readonly inputs: readonly In[]
  readonly outputs: readonly Out[]
  /** The dtype and shape of each result; an absent one is not computed. */
  readonly results: (inputs: Operands<In, Tensor>, attributes: Given) => Operands<Out, Result>
  /** Results to which the kernel can add one more tensor each. */
  readonly addsTo?: readonly OperandName<Out>[] | ((attributes: Given) => readonly OperandName<Out>[])
  /** The first result may take the memory of the first input if no later stage reads that input. */
  readonly overwrites?: true
  /** The kernel reaches only the program's own memory: inputs and outputs bound outside it are copied. */
  readonly local?: true
  /** Inputs that must be in the program's own memory, if the kernel is not `local` as a whole. */
  readonly localInputs?: readonly OperandName<In>[]
  /** Whether the outputs must be in the program's own memory, if the kernel is not `local` as a whole. */
  readonly localOutputs?: true
}

/** The declaration of any kernel. */
// biome-ignore lint/suspicious/noExplicitAny: operands and attributes are checked where the declaration is named
export type AnyKernel = KernelDeclaration<any, any, any>

export type InputsOf<K extends AnyKernel> = K extends KernelDeclaration<infer In, infer _Out, infer _Given> ? In : never
export type OutputsOf<K extends AnyKernel> =
  K extends KernelDeclaration<infer _In, infer Out, infer _Given> ? Out : never
export type AttributesOf<K extends AnyKernel> =
  K extends KernelDeclaration<infer _In, infer _Out, infer Given> ? Given : never

// biome-ignore lint/complexity/noBannedTypes: a kernel without attributes
type None = {}

export function declareKernel<const In extends string, const Out extends string, Given extends Attributes = None>(
  declaration: KernelDeclaration<In, Out, Given>,
): KernelDeclaration<In, Out, Given> {
  return declaration
}

/** Whether the runtime that we trace for has this kernel. Kernels compute in float32 only. */
export const hasKernel = ({ name }: AnyKernel, dtype: DType = 'float32'): boolean =>
  dtype === 'float32' && kernelNames().has(name)

/**
 * Adds one use of a kernel to the graph. Call it only if `hasKernel` is true.
 * @returns The results by name, of the declared shapes.
 */
export function emitKernel<In extends string, Out extends string, Given extends Attributes>(
  kernel: KernelDeclaration<In, Out, Given>,
  inputs: Operands<NoInfer<In>, Tensor>,
  ...[given]: None extends Given ? [attributes?: Given] : [attributes: Given]
): Operands<Out, Tensor> {
  const attributes = (given ?? {}) as Given
  const operands = present<Tensor>(kernel.name, kernel.inputs, inputs)
  const results = present<Result>(kernel.name, kernel.outputs, kernel.results(inputs, attributes))
  const [inputNames, outputNames] = [operands.map(([name]) => name), results.map(([name]) => name)]
  const indices = (names: readonly string[], of: readonly string[]) =>
    names.map((name) => of.indexOf(name)).filter((index) => index !== -1)
  const { name, addsTo = [], overwrites, local, localInputs, localOutputs } = kernel
  const sums = typeof addsTo === 'function' ? addsTo(attributes) : addsTo
  const tensors = emitNode({
    type: name,
    domain: 'choir',
    attributes,
    inputs: operands.map(([, tensor]) => tensor),
    outputs: results.map(([, { dtype, shape }]) => ({ dtype, shape })),
    kernel: {
      inputs: inputNames,
      outputs: outputNames,
      addsTo: indices(sums, outputNames),
      ...(overwrites && { overwrites }),
      ...(local && { local }),
      ...(localInputs && { localInputs: indices(localInputs, inputNames) }),
      ...(localOutputs && { localOutputs }),
    },
  })
  return Object.fromEntries(tensors.map((tensor, i) => [outputNames[i], tensor])) as Operands<Out, Tensor>
}

/** The operands that are given, in the declared order. */
function present<T>(kernel: string, declared: readonly string[], given: object): [name: string, operand: T][] {
  return declared.flatMap((entry): [string, T][] => {
    const name = entry.replace(/\?$/, '')
    const operand = (given as Readonly<Record<string, T | undefined>>)[name]
    if (operand === undefined && name === entry)
      throw new Error(`internal: a use of the kernel ${kernel} without ${name}`)
    return operand === undefined ? [] : [[name, operand]]
  })
}
