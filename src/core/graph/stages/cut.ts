/**
 * Cuts a program into stages, because kernels run outside ONNX Runtime.
 *
 * Think of a list of *stages* that run one after the other. A stage is one kernel, or an ONNX model of the
 * nodes between kernels. Stages exchange *values*; the runtime decides where they are stored. ONNX nodes
 * wait until a kernel needs one of them; then all waiting nodes form one stage. This gives few stages, and
 * nodes that only feed outputs of the program run at its end.
 *
 * Reshapes between stages vanish (a value has no shape, only its readers do), and an addition to the result
 * of a kernel becomes part of the kernel if the kernel can add.
 */
import type { DType, Model, Port, Shape } from '../model.ts'
import { toOnnx } from '../onnx.ts'
import { type Program, reach } from '../program.ts'
import { sameShape, sizeOf } from '../shape.ts'
import { constant, emit, input, type KernelUse, type Node, RAGGED, type Tensor } from '../tensor.ts'
import type { KernelStage, OnnxStage, StagedModel, Value, ValueUse } from './contract.ts'
import { fuseAdditions } from './fuse-additions.ts'
import { type HalvesOf, storeHalves } from './halves.ts'
import { isKernel, isUse, type Step, usesOf, Values } from './steps.ts'

/** Whether a program uses kernels and so must be cut. */
export const usesKernels = (program: Program): boolean => reach(program).nodes.some(({ domain }) => domain === 'choir')

/** The form of a program that a runtime compiles: stages if the program uses kernels, else one ONNX model. */
export const modelOf = (program: Program, options: CutOptions = {}): Model | StagedModel =>
  usesKernels(program) ? cut(program, options) : toOnnx(program)

export interface CutOptions {
  /** Whether ports are in the program's own memory, which every kernel reaches, so that nothing is copied. */
  readonly portsInside?: boolean
  /** Operands through which kernels may exchange bfloat16. Default: no operands. */
  readonly halves?: HalvesOf
}

export function cut(program: Program, { portsInside = false, halves }: CutOptions = {}): StagedModel {
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
  if (halves) storeHalves(fused, values, new Set([...valueOfInput, ...valueOfOutput]), halves)
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

/** Whether this input of a kernel must be in the program's own memory. */
const isLocalInput = ({ node }: Step, i: number): boolean =>
  (node.kernel?.local || node.kernel?.localInputs?.includes(i)) ?? false

/** Copies input ports for kernels that cannot reach them. */
function withCopies(steps: readonly Step[], values: Values): Step[] {
  const computed = new Set(steps.flatMap(({ outputs }) => outputs.map(({ value }) => value)))
  const copies = new Map<number, Step>()
  const copied = steps.map((step): Step => {
    const inputs = step.inputs.map((use, i) => {
      if (!isUse(use) || computed.has(use.value) || !isLocalInput(step, i)) return use
      const { constant } = values.list[use.value] as Value
      const { dtype } = step.node.inputs[i] as Tensor
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
 * The value of each output port. A copy is bound to the port if the value is an input or a constant, is
 * bound to another port, or must be in the program's own memory for its kernel.
 */
function bindOutputs(
  outputs: readonly (readonly [string, Tensor])[],
  steps: Step[],
  values: Values,
  taken: readonly number[],
): number[] {
  const unusable = new Set(taken)
  for (const step of steps) {
    if (step.node.kernel?.local || step.node.kernel?.localOutputs)
      for (const { value } of step.outputs) unusable.add(value)
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

/** Groups ONNX steps: they wait until a kernel needs one of them, then all waiting steps form one stage. */
function group(steps: readonly Step[]): Group[] {
  const groups: Group[] = []
  let waiting: Step[] = []
  let pending = new Set<number>()
  const flush = () => {
    if (waiting.length > 0) groups.push({ kind: 'onnx', steps: waiting })
    waiting = []
    pending = new Set()
  }
  for (const step of steps) {
    if (isKernel(step)) {
      if (usesOf(step).some(({ value }) => pending.has(value))) flush()
      groups.push({ kind: 'kernel', step })
    } else {
      waiting.push(step)
      for (const { value } of step.outputs) pending.add(value)
    }
  }
  flush()
  return groups
}

function kernelStage({ node, inputs, outputs, added = [] }: Step): KernelStage {
  const { type, attributes, origin } = node
  const { overwrites = false, ...names } = node.kernel as KernelUse
  const operands = { inputs: inputs.filter(isUse), outputs, names: { inputs: names.inputs, outputs: names.outputs } }
  return { kind: 'kernel', type, attributes, ...operands, added, overwrites, origin }
}

/** An ONNX model of the steps. Its outputs are the values that other stages or ports read. */
function onnxStage(steps: readonly Step[], all: readonly Step[], ports: readonly number[]): OnnxStage {
  const inside = new Set(steps)
  const needed = new Set(ports)
  for (const step of all) if (!inside.has(step)) for (const { value } of usesOf(step)) needed.add(value)

  const inputs: ValueUse[] = []
  const tensors = new Map<string, Tensor>()
  const computed = new Map<number, Tensor>()
  const tensorOf = (use: ValueUse, dtype: DType): Tensor => {
    const key = `${use.value} ${use.shape}`
    const known = tensors.get(key)
    if (known) return known
    const own = computed.get(use.value)
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
      computed.set(use.value, { dtype, shape, source, output })
    })
  }
  const results = [...computed].filter(([value]) => needed.has(value))
  for (const [, { shape }] of results)
    if (shape.includes(RAGGED)) throw new Error('internal: a ragged tensor is used by another stage')
  const model = toOnnx(
    { outputs: Object.fromEntries(results.map(([, tensor], i) => [`o${i}`, tensor])) },
    { anonymous: true },
  )
  return {
    kind: 'onnx',
    model,
    // Inputs follow the model's ports: an input that only dead code reads is not a port.
    inputs: model.inputs.map(({ name }) => inputs[Number(name.slice(1))] as ValueUse),
    outputs: results.map(([value, { shape }]) => ({ value, shape })),
    elements: [...computed.values()].reduce((sum, { shape }) => sum + elementsOf(shape), 0),
  }
}

const elementsOf = (shape: Shape): number => (shape.includes(RAGGED) ? Number.POSITIVE_INFINITY : sizeOf(shape))

function reshaped(tensor: Tensor, shape: Shape): Tensor {
  if (sameShape(tensor.shape, shape)) return tensor
  return emit('Reshape', [tensor, constant(shape, 'int64')], { shape, attributes: { allowzero: 1 } })
}
