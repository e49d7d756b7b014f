/**
 * Turns a program into dispatches over values with memory: rewrites it, fuses maps and reductions, calls the kernels,
 * and places the values in memory.
 */
import type { Attributes } from '../../../core/graph/kernels/declaration.ts'
import type { Origin, Port, Shape } from '../../../core/graph/model.ts'
import { type Program, reach } from '../../../core/graph/program.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import type { ConstantData, Node, Tensor } from '../../../core/graph/tensor.ts'
import { placeBlocks } from '../../contract/place-blocks.ts'
import { RuntimeError } from '../../contract/runtime-error.ts'
import { dataInputs } from '../codegen/maps.ts'
import {
  type Dispatch,
  type HostWork,
  type Kernel,
  type KernelCall,
  type MemoryType,
  type Operand,
  operandOf,
} from '../kernels/contract.ts'
import { bytesOfNumber } from '../kernels/memory.ts'
import { fuseAddends } from './addends.ts'
import { Fusion } from './fusion.ts'
import { type GroupDispatch, groupDispatch } from './group-dispatch.ts'
import type { Root } from './groups.ts'
import { type DeviceNode, rewrite } from './rewrite.ts'
import { ALIGNMENT } from './slice.ts'
import { halvesOf } from './storage.ts'

export interface Value {
  readonly dtype: MemoryType
  readonly size: number
  /** Contents, if no dispatch computes the value. */
  readonly constant?: ConstantData
}

/** Number of bytes of the binding of a value: a multiple of 4, and at least 4. */
export const bytesOfValue = ({ dtype, size }: Value): number =>
  Math.max(4, 4 * Math.ceil((size * bytesOfNumber(dtype)) / 4))

export interface Step {
  readonly dispatch: Dispatch
  /** The value of each operand. */
  readonly values: readonly number[]
  /** The value with the numbers of workgroups, if an earlier step computes them. */
  readonly indirect: number | null
  readonly origin: Origin
  /** Work of the whole call, for profiles; only its first step has it. */
  readonly work?: { readonly flops: number; readonly bytes: number } | undefined
}

/** Work of the host between steps. */
export interface HostStep {
  /** The kernel. */
  readonly type: string
  readonly work: HostWork
  /** Bytes of a row of the first operand. */
  readonly rowBytes: number
  /** Number of steps before it. */
  readonly steps: number
  /** The value of each operand. */
  readonly values: readonly number[]
  readonly origin: Origin
}

export interface LoweredProgram {
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  readonly valueOfInput: readonly number[]
  readonly valueOfOutput: readonly number[]
  readonly values: readonly Value[]
  readonly steps: readonly Step[]
  readonly hostSteps: readonly HostStep[]
  /** Byte offset of each value in the memory of the program; null for ports and constants. */
  readonly offsets: readonly (number | null)[]
  readonly bytes: number
  /**
   * Byte offsets, in a buffer of their own, of values that hold numbers of workgroups: WebGPU refuses a dispatch that
   * reads them from a buffer to which it may write.
   */
  readonly grids: ReadonlyMap<number, number>
}

/**
 * @param math With `f16`, activations are kept as f16 where that is safe, and tiled products round their factors to
 * f16.
 */
export function lowerProgram(
  program: Program,
  kernels: Readonly<Record<string, Kernel>>,
  math: 'float32' | 'f16' = 'float32',
): LoweredProgram {
  const { inputs } = reach(program)
  const ordered = fuseAddends(rewrite(program, kernels))
  const fusion = new Fusion(ordered)
  const halves = math === 'f16' ? halvesOf(fusion, kernels, Object.values(ordered.outputs)) : new Set<Tensor>()
  const lowering = new Lowering(kernels, halves, math === 'f16')
  const memoryOf = (tensor: Tensor) => lowering.valueOf(fusion.tensors.unique(tensor))
  const valueOfInput = inputs.map(memoryOf)
  for (const item of fusion.items) {
    if (item.kind === 'kernel') {
      const overwritten = fusion.overwrittenBy(item.node)
      if (overwritten) lowering.share(fusion.tensors.of(item.node, 0), overwritten)
      lowering.call(item.node, memoryOf, (output) => memoryOf(fusion.tensors.of(item.node, output)))
    } else {
      const [{ node }] = item.groups.flatMap(({ roots }) => roots) as [Root]
      lowering.group(groupDispatch(item, fusion, halves), memoryOf, node.origin)
    }
  }
  const outputs = Object.entries(ordered.outputs)
  const valueOfOutput = outputs.map(([, tensor]) => memoryOf(tensor))
  const port = (name: string, { dtype, shape }: Tensor): Port => ({ name, dtype, shape })
  return {
    inputs: inputs.map((tensor) => port(tensor.source.name, tensor)),
    outputs: Object.entries(program.outputs).map(([name, tensor]) => port(name, tensor)),
    valueOfInput,
    valueOfOutput,
    values: lowering.values,
    steps: lowering.steps,
    hostSteps: lowering.hostSteps,
    ...lowering.memory(new Set([...valueOfInput, ...valueOfOutput])),
  }
}

/** The attributes of a node. ONNX gives the axis of a running sum as a constant input, which becomes an attribute. */
function attributesOf({ type, attributes, inputs }: Node): Attributes {
  const source = inputs[1]?.source
  return type === 'CumSum' && source?.kind === 'constant' ? { ...attributes, axis: Number(source.data[0]) } : attributes
}

/** An op of a caller's own may use any operator of ONNX. */
const missing = ({ type, domain, origin: { op, layer } }: DeviceNode): string =>
  domain === 'choir'
    ? `internal: no kernel ${type} (${op} of ${layer})`
    : `the operator ${type} of ${op}${layer && `, in ${layer},`} does not run on a GPU (compute on the CPU, or make the op of others)`

/** The first elements of `all`, by name. */
const named = <T>(names: readonly string[], all: readonly T[]): Readonly<Record<string, T>> =>
  Object.fromEntries(all.slice(0, names.length).map((each, i) => [names[i], each]))

class Lowering {
  readonly values: Value[] = []
  readonly steps: Step[] = []
  readonly hostSteps: HostStep[] = []
  private readonly ofTensor = new Map<Tensor, number>()
  private readonly ofOperand = new Map<Operand, number>()
  /** Values in scratch memory that shared dispatches write, by a key of their computation. */
  private readonly shared = new Map<string, readonly number[]>()
  private readonly kernels: Readonly<Record<string, Kernel>>
  private readonly halves: ReadonlySet<Tensor>
  private readonly rounds: boolean

  /** @param halves Tensors that are f16 in memory. @param rounds Whether products round their factors to f16. */
  constructor(kernels: Readonly<Record<string, Kernel>>, halves: ReadonlySet<Tensor>, rounds: boolean) {
    this.kernels = kernels
    this.halves = halves
    this.rounds = rounds
  }

  valueOf(tensor: Tensor): number {
    const known = this.ofTensor.get(tensor)
    if (known !== undefined) return known
    if (tensor.dtype === 'float64') throw new RuntimeError('internal: a GPU has no float64')
    const { source, dtype, shape } = tensor
    const value = this.create(
      this.halves.has(tensor) ? 'float16' : dtype,
      shape,
      source.kind === 'constant' ? source.data : undefined,
    )
    this.ofTensor.set(tensor, value)
    return value
  }

  /** Gives a tensor the memory of another. */
  share(tensor: Tensor, other: Tensor): void {
    this.ofTensor.set(tensor, this.valueOf(other))
  }

  private create(dtype: MemoryType, shape: Shape, constant?: ConstantData): number {
    return this.values.push({ dtype, size: sizeOf(shape), ...(constant && { constant }) }) - 1
  }

  /** A new operand in the memory of a value. */
  private operandIn(value: number, { shape }: { readonly shape: Shape }): Operand {
    const operand = operandOf((this.values[value] as Value).dtype, shape)
    this.ofOperand.set(operand, value)
    return operand
  }

  /** The value of an operand. Scratch memory gets a value where it is first used. */
  private valueAt(operand: Operand): number {
    const value = this.ofOperand.get(operand) ?? this.create(operand.dtype, operand.shape)
    this.ofOperand.set(operand, value)
    return value
  }

  /** Adds the dispatch of a bundle. */
  group({ operands, ...dispatch }: GroupDispatch, memoryOf: (tensor: Tensor) => number, origin: Origin): void {
    const uses = operands.map((tensor) => ({ of: this.operandIn(memoryOf(tensor), tensor) }))
    this.add({ ...dispatch, operands: uses }, origin)
  }

  /** Adds the dispatches of a kernel. */
  call(node: DeviceNode, memoryOf: (tensor: Tensor) => number, valueOfOutput: (output: number) => number): void {
    const kernel = this.kernels[node.type]
    if (!kernel) throw new RuntimeError(missing(node))
    // A node of a kernel lists the operands that are present.
    const names = node.kernel ?? kernel.declaration
    const inputs = dataInputs(node).map((tensor) => this.operandIn(memoryOf(tensor), tensor))
    const outputs = node.outputs.map((tensor, output) => this.operandIn(valueOfOutput(output), tensor))
    const call: KernelCall = {
      attributes: attributesOf(node),
      inputs: named(names.inputs, inputs),
      outputs: named(names.outputs, outputs),
      addends: named(node.added ?? [], inputs.slice(names.inputs.length)),
      scales: node.scales ?? {},
      // Operators of ONNX are not matrix products of the model.
      rounds: this.rounds && node.domain === 'choir',
    }
    const given = new Set([...inputs, ...outputs])
    let work = kernel.work?.(call)
    for (const dispatch of kernel.lower(call)) {
      if (dispatch.shared && this.isKnown(dispatch, given)) continue
      this.add(dispatch, node.origin, work)
      work = undefined
    }
    const host = kernel.host?.(call)
    if (!host) return
    const values = host.operands.map((operand) => this.valueAt(operand))
    const [first] = host.operands
    const rowBytes = first ? (first.shape.at(-1) ?? 1) * bytesOfNumber(first.dtype) : 0
    this.hostSteps.push({
      type: node.type,
      work: host,
      rowBytes,
      steps: this.steps.length,
      values,
      origin: node.origin,
    })
  }

  private add(dispatch: Dispatch, origin: Origin, work?: Step['work']): void {
    const { workgroups, operands } = dispatch
    const indirect = 'indirect' in workgroups ? this.valueAt(workgroups.indirect) : null
    const values = operands.map(({ of }) => this.valueAt(of))
    this.steps.push({ dispatch, values, indirect, origin, ...(work && { work }) })
  }

  /** Whether an equal dispatch has been added already: its scratch memory then has the results of this dispatch. */
  private isKnown({ operands, workgroups, code }: Dispatch, given: ReadonlySet<Operand>): boolean {
    const all = operands.map(({ of }) => of)
    const read = all.map((operand) => (given.has(operand) ? this.valueAt(operand) : null))
    const key = JSON.stringify([read, workgroups, code(all.map((_, i) => `b${i}`))])
    const written = all.filter((operand) => !given.has(operand))
    const known = this.shared.get(key)
    if (!known)
      this.shared.set(
        key,
        written.map((operand) => this.valueAt(operand)),
      )
    for (const [i, value] of known?.entries() ?? []) this.ofOperand.set(written[i] as Operand, value)
    return known !== undefined
  }

  /** The places of values that are not ports. */
  memory(ports: ReadonlySet<number>): Pick<LoweredProgram, 'offsets' | 'bytes' | 'grids'> {
    const indirect = new Set(this.steps.flatMap((step) => step.indirect ?? []))
    const grids = new Map([...indirect].map((value, i) => [value, i * ALIGNMENT]))
    const lives = new Map<number, { bytes: number; first: number; last: number }>()
    const uses = [
      ...this.steps.map(({ values }, step) => ({ values, step })),
      // What the host uses before a step keeps its memory until that step.
      ...this.hostSteps.map(({ values, steps }) => ({ values, step: steps })),
    ]
    for (const { values, step } of uses)
      for (const value of values) {
        const of = this.values[value] as Value
        if (of.constant || ports.has(value) || grids.has(value)) continue
        const bytes = Math.ceil(bytesOfValue(of) / ALIGNMENT) * ALIGNMENT
        const life = lives.get(value) ?? { bytes, first: step, last: step }
        life.first = Math.min(life.first, step)
        life.last = Math.max(life.last, step)
        lives.set(value, life)
      }
    const { offsets, bytes } = placeBlocks([...lives.values()])
    const offsetOf = (value: number) => {
      const life = lives.get(value)
      return life ? (offsets.get(life) as number) : null
    }
    return { offsets: this.values.map((_, value) => offsetOf(value)), bytes, grids }
  }
}
