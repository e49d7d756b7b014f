/**
 * Cutting a program where kernels run outside ONNX Runtime.
 *
 * Think of a list of *stages*, run one after the other: a stage is one kernel, or an ONNX model of the
 * nodes between kernels. *Values* are what stages hand to each other; where they lie is the runtime's
 * business. ONNX nodes wait until a kernel needs one of them, and then all that wait run together: few
 * stages, and nodes that only feed the end of the program run at its end.
 *
 * On the way, reshapes vanish (a value has no shape, only its readers do), and an addition to the result
 * of a kernel that can add becomes part of the kernel.
 */
import type { DType, Model, Port, Shape } from '../model.ts'
import { toOnnx } from '../onnx.ts'
import { type Program, reach } from '../program.ts'
import { sameShape } from '../shape.ts'
import { emit, input, type KernelTraits, type Node, RAGGED, type Tensor } from '../tensor.ts'
import type { KernelStage, OnnxStage, StagedModel, Value, ValueUse } from './contract.ts'
import { fuseAdditions } from './fuse-additions.ts'
import { isKernel, isUse, type Step, usesOf, Values } from './steps.ts'

/** Whether a program uses kernels, and so must be cut. */
export const usesKernels = (program: Program): boolean => reach(program).nodes.some(({ domain }) => domain === 'choir')

/** What a runtime compiles: stages where the program uses kernels, else one ONNX model. */
export const modelOf = (program: Program): Model | StagedModel =>
  usesKernels(program) ? cut(program) : toOnnx(program)

export interface CutOptions {
  /** Ports will lie in the memory of the program, where every kernel reaches them: nothing is copied. */
  readonly portsInside?: boolean
}

export function cut(program: Program, { portsInside = false }: CutOptions = {}): StagedModel {
  const values = new Values(portsInside)
  const { nodes, inputs } = reach(program)
  const valueOfInput = inputs.map((tensor) => values.ofInput(tensor))
  const outputs = Object.entries(program.outputs)
  const steps = withCopies(
    nodes.toSorted((a, b) => a.serial - b.serial).flatMap((node) => values.step(node)),
    values,
  )
  const valueOfOutput = bindOutputs(outputs, steps, values, valueOfInput)
  const fused = fuseAdditions(steps, new Set(valueOfOutput))
  const stages = group(fused).map((stage) => (stage.kind === 'kernel' ? kernelStage(stage.step) : stage))
  const port = (name: string, { dtype, shape }: Tensor): Port => ({ name, dtype, shape })
  return {
    inputs: inputs.map((tensor) => port(tensor.source.name, tensor)),
    outputs: outputs.map(([name, tensor]) => port(name, tensor)),
    valueOfInput,
    valueOfOutput,
    values: values.list,
    stages: stages.map((stage) => (stage.kind === 'kernel' ? stage : onnxStage(stage.steps, fused, valueOfOutput))),
  }
}

const copyOf = (use: ValueUse, dtype: DType, to: number): Step => ({
  node: emit('Identity', [input('', dtype, use.shape)], { shape: use.shape }).source as Node,
  inputs: [use],
  outputs: [{ value: to, shape: use.shape }],
})

/** Whether a kernel reaches an input only in the program's own memory. */
const isLocalInput = ({ node }: Step, i: number): boolean =>
  (node.kernel?.local || node.kernel?.localInputs?.includes(i)) ?? false

/** Copies of input ports for kernels that cannot reach them. */
function withCopies(steps: readonly Step[], values: Values): Step[] {
  const made = new Set(steps.flatMap(({ outputs }) => outputs.map(({ value }) => value)))
  const copies = new Map<number, Step>()
  const copied = steps.map((step): Step => {
    const inputs = step.inputs.map((use, i) => {
      if (!isUse(use) || made.has(use.value) || !isLocalInput(step, i)) return use
      const { dtype, constant } = values.list[use.value] as Value
      if (constant) return use
      const copy = copies.get(use.value) ?? copyOf(use, dtype, values.create({ dtype, shape: use.shape }))
      copies.set(use.value, copy)
      return { ...use, value: (copy.outputs[0] as ValueUse).value }
    })
    return { ...step, inputs }
  })
  return [...copies.values(), ...copied]
}

/**
 * The value of each output port: what is computed, or a copy of it when it cannot lie there: it is an
 * input or a constant, another port has it, or a kernel makes or reads it in own memory only.
 */
function bindOutputs(
  outputs: readonly (readonly [string, Tensor])[],
  steps: Step[],
  values: Values,
  taken: readonly number[],
): number[] {
  const unusable = new Set(taken)
  for (const step of steps) {
    if (step.node.kernel?.local) for (const { value } of step.outputs) unusable.add(value)
    for (const [i, use] of step.inputs.entries()) if (isUse(use) && isLocalInput(step, i)) unusable.add(use.value)
  }
  return outputs.map(([, tensor]) => {
    const use = values.use(tensor)
    if (!unusable.has(use.value) && !values.list[use.value]?.constant) {
      unusable.add(use.value)
      return use.value
    }
    const copy = values.create(tensor)
    steps.push(
      values.list[use.value]?.constant
        ? {
            node: emit('Identity', [tensor], { shape: tensor.shape }).source as Node,
            inputs: [tensor],
            outputs: [{ value: copy, shape: tensor.shape }],
          }
        : copyOf(use, tensor.dtype, copy),
    )
    return copy
  })
}

type Group =
  | { readonly kind: 'kernel'; readonly step: Step }
  | { readonly kind: 'onnx'; readonly steps: readonly Step[] }

/** ONNX steps wait until a kernel needs one of them; then all that wait make one stage. */
function group(steps: readonly Step[]): Group[] {
  const groups: Group[] = []
  let waiting: Step[] = []
  let made = new Set<number>()
  const flush = () => {
    if (waiting.length > 0) groups.push({ kind: 'onnx', steps: waiting })
    waiting = []
    made = new Set()
  }
  for (const step of steps) {
    if (isKernel(step)) {
      if (usesOf(step).some(({ value }) => made.has(value))) flush()
      groups.push({ kind: 'kernel', step })
    } else {
      waiting.push(step)
      for (const { value } of step.outputs) made.add(value)
    }
  }
  flush()
  return groups
}

function kernelStage({ node, inputs, outputs, added = [] }: Step): KernelStage {
  const { type, attributes, origin } = node
  const overwrites = (node.kernel as KernelTraits).overwrites ?? false
  return { kind: 'kernel', type, attributes, inputs: inputs.filter(isUse), outputs, added, overwrites, origin }
}

/** An ONNX model of the steps, whose outputs are what other stages or ports need. */
function onnxStage(steps: readonly Step[], all: readonly Step[], ports: readonly number[]): OnnxStage {
  const inside = new Set(steps)
  const needed = new Set(ports)
  for (const step of all) if (!inside.has(step)) for (const { value } of usesOf(step)) needed.add(value)

  const inputs: ValueUse[] = []
  const tensors = new Map<string, Tensor>()
  const made = new Map<number, Tensor>()
  const tensorOf = (use: ValueUse, dtype: DType): Tensor => {
    const key = `${use.value} ${use.shape}`
    const known = tensors.get(key)
    if (known) return known
    const own = made.get(use.value)
    const tensor = own ? reshaped(own, use.shape) : input(`i${inputs.length}`, dtype, use.shape)
    if (!own) inputs.push(use)
    tensors.set(key, tensor)
    return tensor
  }
  for (const { node, inputs: uses, outputs } of steps) {
    const source: Node = {
      ...node,
      inputs: uses.map((use, i) => (isUse(use) ? tensorOf(use, (node.inputs[i] as Tensor).dtype) : use)),
    }
    node.outputs.forEach(({ dtype, shape }, output) => {
      const use = outputs[output] as ValueUse
      made.set(use.value, { dtype, shape, source, output })
    })
  }
  const results = [...made].filter(([value]) => needed.has(value))
  for (const [, { shape }] of results)
    if (shape.includes(RAGGED)) throw new Error('internal: a ragged tensor is used by another stage')
  const model = toOnnx(
    { outputs: Object.fromEntries(results.map(([, tensor], i) => [`o${i}`, tensor])) },
    { anonymous: true },
  )
  return {
    kind: 'onnx',
    model,
    // In the order of the model's ports; what only dead code reads is not one.
    inputs: model.inputs.map(({ name }) => inputs[Number(name.slice(1))] as ValueUse),
    outputs: results.map(([value, { shape }]) => ({ value, shape })),
  }
}

function reshaped(tensor: Tensor, shape: Shape): Tensor {
  if (sameShape(tensor.shape, shape)) return tensor
  return emit('Reshape', [tensor, shapeConstant(shape)], { shape, attributes: { allowzero: 1 } })
}

const shapeConstant = (shape: Shape): Tensor => ({
  dtype: 'int64',
  shape: [shape.length],
  source: { kind: 'constant', data: BigInt64Array.from(shape, BigInt) },
  output: 0,
})
