/**
 * Checks functions computed by kernels, in float32, against the same function as a graph in float64.
 *
 * A case runs twice on the same numbers: with the kernels of a runtime, cut into stages; and without kernels, in
 * float64. The check compares its results y and the gradients of Σ w·y with random w.
 */
import { expect } from 'vitest'
import { add } from '../../src/core/graph/ops/elementwise.ts'
import { dispatch } from '../../src/core/graph/ops/expert.ts'
import { gradient } from '../../src/core/graph/ops/gradient.ts'
import { sum } from '../../src/core/graph/ops/reduction.ts'
import type { Program } from '../../src/core/graph/program.ts'
import { sizeOf } from '../../src/core/graph/shape.ts'
import type { StagedModel } from '../../src/core/graph/stages/contract.ts'
import { cut, usesKernels } from '../../src/core/graph/stages/cut.ts'
import { input, type Tensor, withKernels } from '../../src/core/graph/tensor.ts'
import { type Executable, type Buffer as Memory, type Runtime, typedArrays } from '../../src/engine/contract/runtime.ts'
import { testRandom, weightedSum } from './gradient-check.ts'

export type Dtype = 'float32' | 'float64'
export type Values = Record<string, Memory>

export interface KernelInput {
  readonly shape: readonly number[]
  /** Draws a value; default: uniform in [−2, 2]. */
  readonly values?: (random: () => number, i: number) => number
  /** Integers have no gradient. */
  readonly dtype?: 'int32'
}

export interface KernelCase {
  readonly inputs: Readonly<Record<string, KernelInput>>
  readonly build: (tensors: Readonly<Record<string, Tensor>>, dtype: Dtype) => Tensor | readonly Tensor[]
  /** The float64 function, if it differs from `build`. */
  readonly reference?: (tensors: Readonly<Record<string, Tensor>>) => Tensor | readonly Tensor[]
  /** Kernels that the program must use. */
  readonly kernels: readonly string[]
  /** Whether there is no gradient to check. */
  readonly forward?: boolean
  /** Whether gradients are added in place to earlier values, as with micro-batches. */
  readonly accumulate?: boolean
  /** Errors are relative to at least this, for cases where terms larger than the results cancel. */
  readonly floor?: number
  /** Largest relative error, if a kernel may round more than float32 does. */
  readonly error?: number
  /** Floor of gradients; default: `floor`. */
  readonly gradientFloor?: number
}

/** The program of a case, with outputs `y0, y1, ...` and `g <input>`. */
export function trace(
  { inputs, build, reference, forward, accumulate }: KernelCase,
  dtype: Dtype,
  seed: number,
): Program {
  const tensors = Object.fromEntries(
    Object.entries(inputs).map(([name, given]) => [name, input(name, given.dtype ?? dtype, given.shape)]),
  )
  const built = dtype === 'float64' && reference ? reference(tensors) : build(tensors, dtype)
  const results = (Array.isArray(built) ? built : [built]) as readonly Tensor[]
  const outputs: Record<string, Tensor> = Object.fromEntries(results.map((tensor, i) => [`y${i}`, tensor]))
  if (forward) return { outputs }
  const objective = weightedSum(results, testRandom(seed + 77))
  const names = Object.keys(inputs).filter((name) => inputs[name]?.dtype === undefined)
  gradient(
    objective,
    names.map((name) => tensors[name] as Tensor),
  ).forEach((tensor, i) => {
    const name = names[i] as string
    outputs[`g ${name}`] = accumulate ? add(input(`before ${name}`, dtype, tensor.shape), tensor) : tensor
  })
  return { outputs }
}

/** Values of all inputs, including the initial values of accumulated gradients. */
export function draw({ inputs, accumulate }: KernelCase, seed: number): Values {
  const random = testRandom(seed)
  const values: Values = {}
  for (const [name, { shape, dtype, values: value = (uniform: () => number) => uniform() * 4 - 2 }] of Object.entries(
    inputs,
  )) {
    const numbers = Array.from({ length: sizeOf(shape) }, (_, i) => value(random, i))
    values[name] = dtype === 'int32' ? Int32Array.from(numbers) : Float32Array.from(numbers)
    if (accumulate && dtype === undefined)
      values[`before ${name}`] = Float32Array.from({ length: sizeOf(shape) }, () => random() * 4 - 2)
  }
  return values
}

/** Memory for the ports of a model, with filled inputs. With `inPlace`, gradients overwrite their initial values. */
export function buffersFor(model: Pick<StagedModel, 'inputs' | 'outputs'>, values: Values, inPlace: boolean): Values {
  const buffers: Values = {}
  for (const { name, dtype, shape } of model.inputs) {
    const given = values[name]
    if (!given) throw new Error(`no values for ${name}`)
    buffers[name] = typedArrays[dtype as 'float32'].from(given as Float32Array, Number)
    if (buffers[name].length !== sizeOf(shape)) throw new Error(`${name} has ${buffers[name].length} values`)
  }
  for (const { name, dtype, shape } of model.outputs) {
    const before = inPlace ? buffers[name.replace(/^g /, 'before ')] : undefined
    buffers[name] = before ?? new typedArrays[dtype](sizeOf(shape))
    // NaN shows elements that the program does not write.
    if (!before && dtype === 'float32') (buffers[name] as Float32Array).fill(Number.NaN)
  }
  return buffers
}

export const compileWith = (runtime: Runtime, program: Program) => runtime.compile(program)

/** Runs a program in new memory; returns the outputs by name. */
async function runWith(executable: Executable, values: Values, inPlace = false): Promise<Values> {
  const buffers = buffersFor(executable.model, values, inPlace)
  const binding = executable.bind(buffers)
  await binding.run()
  binding.release()
  return Object.fromEntries(executable.model.outputs.map(({ name }) => [name, buffers[name] as Memory]))
}

/** Compiles and runs a program once; returns the outputs by name. */
export async function runOnce(runtime: Runtime, program: Program, values: Values): Promise<Values> {
  const executable = await compileWith(runtime, program)
  try {
    return await runWith(executable, values)
  } finally {
    executable.release()
  }
}

/** Fills the memory that the programs of a runtime share with NaN, so that reads of unwritten memory show. */
export async function poison(runtime: Runtime): Promise<() => Promise<void>> {
  const [rows, width] = [4096, 512]
  const program = withKernels(runtime.kernels, () => {
    const index = input('index', 'int32', [rows])
    const plan = { tokenOfSlot: index, assignmentOfSlot: index, slotOfAssignment: index }
    return { outputs: { y: sum(dispatch(input('x', 'float32', [1, width]), plan)) } }
  })
  const executable = await compileWith(runtime, program)
  const x = new Float32Array(width).fill(Number.NaN)
  const binding = executable.bind({ x, index: new Int32Array(rows), y: new Float32Array(1) })
  return async () => {
    await binding.run()
  }
}

/** Kernels of a program, in order. */
export const kernelsOf = (model: StagedModel): string[] =>
  model.stages.flatMap((stage) => (stage.kind === 'kernel' ? [stage.type] : []))

/** Checks a tensor; errors are relative to its largest element, at least `floor`. NaN and infinities fail. */
export function expectNear(
  actual: Memory,
  expected: ArrayLike<number>,
  tolerance: number,
  name: string,
  floor = 0,
): void {
  expect(actual.length, name).toBe(expected.length)
  let largest = floor
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i] as number))
  for (let i = 0; i < expected.length; i++) {
    const [value, wanted] = [Number(actual[i]), expected[i] as number]
    const allowed = tolerance * largest + 1e-30
    if (!(Math.abs(value - wanted) <= allowed))
      throw new Error(`${name}[${i}] is ${value}, expected ${wanted} (within ${allowed})`)
  }
}

export const expectSameBits = (actual: Values, expected: Values, message: string): void => {
  for (const [name, values] of Object.entries(expected)) {
    const bytes = (buffer: Memory) => Buffer.from(buffer.buffer, buffer.byteOffset, buffer.byteLength)
    expect(bytes(actual[name] as Memory).equals(bytes(values)), `${message}: ${name}`).toBe(true)
  }
}

export interface CheckOptions {
  /** Largest error, relative to the largest element of each tensor. */
  readonly tolerance: number
  readonly seed: number
  /** The runtime for the float64 function. */
  readonly reference: Runtime
  /** Called before each run. */
  readonly before?: (() => Promise<void>) | undefined
  /** The result of `exactValues` for the case, if it is known. */
  readonly expected?: Values
}

/** The outputs of the float64 function. */
export const exactValues = (given: KernelCase, seed: number, reference: Runtime): Promise<Values> =>
  runOnce(reference, trace(given, 'float64', seed), draw(given, seed))

/** Checks a case, and that two runs of it have the same bits. @returns The outputs with kernels. */
export async function checkCase(given: KernelCase, runtime: Runtime, options: CheckOptions): Promise<Values> {
  const { tolerance, seed, reference, before } = options
  const program = withKernels(runtime.kernels, () => trace(given, 'float32', seed))
  const used = usesKernels(program) ? kernelsOf(cut(program)) : []
  expect(used, 'kernels that the program uses').toEqual(expect.arrayContaining([...given.kernels]))
  const values = draw(given, seed)
  const executable = await compileWith(runtime, program)
  await before?.()
  const actual = await runWith(executable, values, given.accumulate)
  await before?.()
  const again = await runWith(executable, values, given.accumulate)
  executable.release()
  expectSameBits(again, actual, `seed ${seed}, run twice`)
  const expected = options.expected ?? (await exactValues(given, seed, reference))
  for (const [name, tensor] of Object.entries(expected)) {
    const floor = name.startsWith('g ') ? (given.gradientFloor ?? given.floor) : given.floor
    const allowed = Math.max(tolerance, given.error ?? 0)
    expectNear(actual[name] as Memory, tensor as Float64Array, allowed, `seed ${seed}: ${name}`, floor)
  }
  return actual
}
