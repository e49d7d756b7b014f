/**
 * Random programs with kernels, and an interpreter for programs before and after they are cut: plain loops
 * over a few numbers, with ONNX models decoded from their bytes. All tensors have six elements, in
 * several shapes. Kernels: `mix` (2a + b), `pair` (a − b and 3b), `grow` (5a, overwrites a), each with
 * fused additions.
 */
import fc from 'fast-check'
import { type AnyKernel, declareKernel, emitKernel } from '../../kernels/declaration.ts'
import { add, multiply, negate } from '../../ops/elementwise.ts'
import { reshape } from '../../ops/shape.ts'
import type { Program } from '../../program.ts'
import { constant, input, type Tensor } from '../../tensor.ts'
import { decodeOnnx } from '../../testing/onnx-schema.ts'
import type { KernelStage, StagedModel } from '../contract.ts'

const shapes = [[6], [2, 3], [3, 2], [1, 6, 1]]

type Numbers = readonly number[]
const formulas: Readonly<Record<string, (a: Numbers, b: Numbers) => Numbers[]>> = {
  mix: (a, b) => [a.map((x, i) => 2 * x + (b[i] as number))],
  pair: (a, b) => [a.map((x, i) => x - (b[i] as number)), b.map((x) => 3 * x)],
  grow: (a) => [a.map((x) => 5 * x)],
}

/** The parts of a kernel's declaration that a test chooses. */
export type Traits = Pick<AnyKernel, 'addsTo' | 'overwrites' | 'local' | 'localInputs' | 'localOutputs'>

/** The results of one use of a kernel: `y`, and of `pair` also `z`. Its inputs are `a` and `b?`. */
export function kernel(name: string, [a, b]: readonly Tensor[], traits: Traits = {}): Tensor[] {
  const declared = declareKernel({
    name,
    inputs: ['a', 'b?'],
    outputs: ['y', 'z?'],
    results: (inputs) => ({ y: inputs.a, z: name === 'pair' ? inputs.a : undefined }),
    ...traits,
  })
  const { y, z } = emitKernel(declared, { a: a as Tensor, b })
  return z ? [y, z] : [y]
}

const step = fc.record({
  kind: fc.constantFrom('add', 'add', 'add', 'multiply', 'negate', 'reshape', 'constant', 'mix', 'mix', 'pair', 'grow'),
  a: fc.nat(),
  b: fc.nat(),
  shape: fc.nat(),
  local: fc.boolean(),
  adds: fc.boolean(),
})

/** Programs of up to twenty steps on two inputs, with some of their tensors as outputs. */
export const programs: fc.Arbitrary<Program> = fc
  .record({
    steps: fc.array(step, { minLength: 1, maxLength: 20 }),
    outputs: fc.array(fc.nat(), { minLength: 1, maxLength: 5 }),
  })
  .map(({ steps, outputs }) => {
    const tensors: Tensor[] = [input('x', 'float32', [6]), input('y', 'float32', [2, 3])]
    for (const { kind, a: i, b: j, shape: k, local, adds } of steps) {
      // Prefers recent tensors, so that programs are deep.
      const pick = (n: number) =>
        tensors[tensors.length - 1 - (n % Math.min(n % 3 === 0 ? tensors.length : 3, tensors.length))] as Tensor
      const a = pick(i)
      const b = like(pick(j), a)
      const traits = {
        ...(local && { local: true as const }),
        ...(adds && { addsTo: kind === 'pair' ? ['y', 'z'] : ['y'] }),
      }
      if (kind === 'add') tensors.push(add(a, b))
      else if (kind === 'multiply') tensors.push(multiply(a, b))
      else if (kind === 'negate') tensors.push(negate(a))
      else if (kind === 'reshape') tensors.push(reshape(a, shapes[k % shapes.length] as number[]))
      else if (kind === 'constant') tensors.push(constant([i % 7, j % 5, k % 3, 1, 2, 3], 'float32', a.shape))
      else
        tensors.push(
          ...kernel(
            kind,
            kind === 'grow' ? [a] : [a, b],
            kind === 'grow' ? { ...traits, overwrites: true as const } : traits,
          ),
        )
    }
    return {
      outputs: Object.fromEntries(
        outputs.map((n, at) => [`out${at}`, tensors[tensors.length - 1 - (n % tensors.length)] as Tensor]),
      ),
    }
  })

const like = (x: Tensor, other: Tensor): Tensor => reshape(x, other.shape)

export type Ports = Readonly<Record<string, Numbers>>

const elementwise: Readonly<Record<string, (a: Numbers, b: Numbers) => Numbers>> = {
  Add: (a, b) => a.map((x, i) => x + (b[i] as number)),
  Mul: (a, b) => a.map((x, i) => x * (b[i] as number)),
  Neg: (a) => a.map((x) => -x),
  Identity: (a) => a,
  Reshape: (a) => a,
}

/** The expected results: evaluates the graph tensor by tensor. */
export function evaluateProgram(program: Program, ports: Ports): Record<string, Numbers> {
  const known = new Map<object, Numbers[]>()
  const valuesOf = ({ source, output }: Tensor): Numbers => {
    if (source.kind === 'input') return ports[source.name] as Numbers
    if (source.kind === 'constant') return Array.from(source.data, Number)
    let results = known.get(source)
    if (!results) {
      const [a, b] = source.inputs.map(valuesOf) as [Numbers, Numbers]
      const formula = formulas[source.type]
      results = source.domain === 'choir' && formula ? formula(a, b) : [elementwise[source.type]?.(a, b) as Numbers]
      known.set(source, results)
    }
    return results[output] as Numbers
  }
  return Object.fromEntries(Object.entries(program.outputs).map(([name, tensor]) => [name, valuesOf(tensor)]))
}

/** Storage of values while a staged program runs. */
export interface Store {
  read(value: number): Numbers
  write(value: number, numbers: Numbers): void
}

/** Runs the stages in their order. The caller has written inputs and constants to the store. */
export function runStages({ stages }: StagedModel, store: Store): void {
  for (const stage of stages) {
    const inputs = stage.inputs.map(({ value }) => store.read(value))
    const results = stage.kind === 'kernel' ? runKernel(stage, inputs) : runOnnx(stage.model.bytes, inputs)
    stage.outputs.forEach(({ value }, i) => {
      store.write(value, results[i] as Numbers)
    })
  }
}

function runKernel({ type, added }: KernelStage, inputs: readonly Numbers[]): Numbers[] {
  const [a, b] = inputs as [Numbers, Numbers]
  const results = formulas[type]?.(a, b) ?? []
  const addends = inputs.slice(inputs.length - added.length)
  return results.map((numbers, output) => {
    const addend = addends[added.indexOf(output)]
    return addend ? numbers.map((x, i) => x + (addend[i] as number)) : numbers
  })
}

/** TensorProto.DataType.FLOAT */
const FLOAT = 1

/** Runs an ONNX model, whose ports are in the order of the stage's inputs and outputs. */
function runOnnx(bytes: Uint8Array, inputs: readonly Numbers[]): Numbers[] {
  const { graph } = decodeOnnx(bytes)
  const values = new Map<string, Numbers>()
  graph.input.forEach(({ name }, i) => {
    values.set(name, inputs[i] as Numbers)
  })
  // The other initializers are shapes, which are not used here.
  for (const { name, rawData, dataType } of graph.initializer)
    if (dataType === FLOAT) values.set(name, Array.from(new Float32Array(Uint8Array.from(rawData).buffer)))
  for (const { opType, input, output } of graph.node) {
    const [a, b] = input.map((name) => values.get(name)) as [Numbers, Numbers]
    values.set(output[0] as string, elementwise[opType]?.(a, b) as Numbers)
  }
  return graph.output.map(({ name }) => values.get(name) as Numbers)
}

/** ONNX operators of a stage's model. */
export const operatorsOf = (bytes: Uint8Array): string[] => decodeOnnx(bytes).graph.node.map(({ opType }) => opType)
