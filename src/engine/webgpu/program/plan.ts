/**
 * Turns a program into dispatches over values with memory: rewrites it, fuses maps and reductions, calls the kernels,
 * and plans where values lie.
 */
import type { Origin, Port, Shape } from '../../../core/graph/model.ts'
import { type Program, reach } from '../../../core/graph/program.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import type { ConstantData, Node, Tensor } from '../../../core/graph/tensor.ts'
import { placeBlocks } from '../../contract/place-blocks.ts'
import { RuntimeError } from '../../contract/runtime-error.ts'
import { dataInputs } from '../codegen/maps.ts'
import type { DeviceFeatures, Dispatch, Kernel, KernelCall, MemoryType, Operand, Place } from '../contract.ts'
import { bytesOfNumber } from '../kernels/memory.ts'
import { ALIGNMENT } from '../slice.ts'
import { fuseAddends } from './addends.ts'
import { Fusion } from './fusion.ts'
import { groupDispatch } from './group-dispatch.ts'
import type { Root } from './groups.ts'
import { rewrite } from './rewrite.ts'
import { halvesOf } from './storage.ts'

export interface Value {
  readonly dtype: MemoryType
  readonly size: number
  /** Contents, if no dispatch computes it. */
  readonly constant?: ConstantData
}

/** Bytes of the binding of a value: a multiple of 4, and not none. */
export const bytesOfValue = ({ dtype, size }: Value): number =>
  Math.max(4, 4 * Math.ceil((size * bytesOfNumber(dtype)) / 4))

export interface Step {
  readonly dispatch: Dispatch
  /** The value of each operand. */
  readonly values: readonly number[]
  /** The value with the numbers of workgroups, if an earlier step computes them. */
  readonly indirect: number | null
  readonly origin: Origin
  /** For profiles, of the whole call; on its first step. */
  readonly work?: { readonly flops: number; readonly bytes: number } | undefined
}

export interface Plan {
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  readonly valueOfInput: readonly number[]
  readonly valueOfOutput: readonly number[]
  readonly values: readonly Value[]
  readonly steps: readonly Step[]
  /** Byte offset of each value in the memory of the program; null for ports and constants. */
  readonly offsets: readonly (number | null)[]
  readonly bytes: number
  /**
   * Byte offset, in a buffer of their own, of values that hold numbers of workgroups: WebGPU refuses a dispatch that reads
   * them from a buffer to which it may write.
   */
  readonly grids: ReadonlyMap<number, number>
}

/** @param math `f16`: activations are kept as f16 where that is safe, and tiled products round their factors to it. */
export function planProgram(
  program: Program,
  kernels: Readonly<Record<string, Kernel>>,
  features: DeviceFeatures,
  math: 'float32' | 'f16' = 'float32',
): Plan {
  const { inputs } = reach(program)
  const ordered = fuseAddends(rewrite(program, kernels))
  const fusion = new Fusion(ordered)
  const halves = math === 'f16' ? halvesOf(fusion, kernels, Object.values(ordered.outputs)) : new Set<Tensor>()
  const planner = new Planner(kernels, features, halves, math === 'f16')
  const memoryOf = (tensor: Tensor) => planner.valueOf(fusion.tensors.unique(tensor))
  const valueOfInput = inputs.map(memoryOf)
  for (const item of fusion.items) {
    if (item.kind === 'kernel') {
      const overwritten = fusion.overwrittenBy(item.node)
      if (overwritten) planner.share(fusion.tensors.of(item.node, 0), overwritten)
      planner.call(item.node, memoryOf, (output) => memoryOf(fusion.tensors.of(item.node, output)))
    } else {
      const { operands, name, code, workgroups } = groupDispatch(item, fusion, halves)
      const dispatch = { name, code, workgroups, operands: operands.map((_, input) => ({ input })) }
      const [{ node }] = item.groups.flatMap(({ roots }) => roots) as [Root]
      planner.steps.push({ dispatch, values: operands.map(memoryOf), indirect: null, origin: node.origin })
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
    values: planner.values,
    steps: planner.steps,
    ...planner.memory(new Set([...valueOfInput, ...valueOfOutput])),
  }
}

/** An attribute of the rewritten program. */
const listOf = ({ attributes }: Node, name: 'added' | 'scaled' | 'scales'): readonly number[] =>
  (attributes[name] ?? []) as readonly number[]

/** ONNX gives the axis of a running sum as a constant. */
function attributesOf({ type, attributes, inputs }: Node): KernelCall['attributes'] {
  const source = inputs[1]?.source
  return type === 'CumSum' && source?.kind === 'constant' ? { ...attributes, axis: Number(source.data[0]) } : attributes
}

class Planner {
  readonly values: Value[] = []
  readonly steps: Step[] = []
  private readonly ofTensor = new Map<Tensor, number>()
  /** Values in scratch memory that shared dispatches write, by what they compute. */
  private readonly shared = new Map<string, readonly number[]>()
  private readonly kernels: Readonly<Record<string, Kernel>>
  private readonly features: DeviceFeatures
  private readonly halves: ReadonlySet<Tensor>
  private readonly rounds: boolean

  /** @param halves Tensors that are f16 in memory. @param rounds Whether products round their factors to f16. */
  constructor(
    kernels: Readonly<Record<string, Kernel>>,
    features: DeviceFeatures,
    halves: ReadonlySet<Tensor>,
    rounds: boolean,
  ) {
    this.kernels = kernels
    this.features = features
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

  /** Adds the dispatches of a kernel. */
  call(node: Node, memoryOf: (tensor: Tensor) => number, valueOfOutput: (output: number) => number): void {
    const kernel = this.kernels[node.type]
    if (!kernel) throw new RuntimeError(`internal: no kernel ${node.type} (${node.origin.op} of ${node.origin.layer})`)
    const operand = ({ shape }: { readonly shape: Shape }, value: number): Operand => ({
      dtype: (this.values[value] as Value).dtype,
      shape,
      size: sizeOf(shape),
    })
    const inputs = dataInputs(node)
    const call: KernelCall = {
      type: node.type,
      attributes: attributesOf(node),
      inputs: inputs.map((tensor) => operand(tensor, memoryOf(tensor))),
      outputs: node.outputs.map((tensor, output) => operand(tensor, valueOfOutput(output))),
      added: listOf(node, 'added'),
      scales: Object.fromEntries(
        listOf(node, 'scaled').map((output, i) => [output, listOf(node, 'scales')[i] as number]),
      ),
      // Operators of ONNX are no matrix products of the model.
      rounds: this.rounds && node.domain === 'choir',
    }
    const { scratch = [], dispatches } = kernel.lower(call, this.features)
    const scratchValues = new Map<number, number>()
    const scratchAt = (index: number): number => {
      const { dtype, shape } = scratch[index] as (typeof scratch)[number]
      const value = scratchValues.get(index) ?? this.create(dtype, shape)
      scratchValues.set(index, value)
      return value
    }
    const at = (place: Place): number => {
      if ('input' in place) return memoryOf(inputs[place.input] as Tensor)
      return 'output' in place ? valueOfOutput(place.output) : scratchAt(place.scratch)
    }
    let work = kernel.work?.(call)
    for (const dispatch of dispatches) {
      const { workgroups, operands, shared } = dispatch
      if (shared) {
        const places = operands.flatMap((place) => ('scratch' in place ? [place.scratch] : []))
        const read = operands.map((place) => ('input' in place ? at(place) : null))
        const key = JSON.stringify([read, workgroups, dispatch.code(operands.map((_, i) => `b${i}`))])
        const known = this.shared.get(key)
        places.forEach((index, i) => {
          if (known) scratchValues.set(index, known[i] as number)
        })
        if (known) continue
        this.shared.set(key, places.map(scratchAt))
      }
      const indirect = 'indirect' in workgroups ? at(workgroups.indirect) : null
      this.steps.push({ dispatch, values: operands.map(at), indirect, origin: node.origin, ...(work && { work }) })
      work = undefined
    }
  }

  /** Where values lie that are not ports. */
  memory(ports: ReadonlySet<number>): Pick<Plan, 'offsets' | 'bytes' | 'grids'> {
    const indirect = new Set(this.steps.flatMap((step) => step.indirect ?? []))
    const grids = new Map([...indirect].map((value, i) => [value, i * ALIGNMENT]))
    const lives = new Map<number, { bytes: number; first: number; last: number }>()
    this.steps.forEach(({ values }, step) => {
      for (const value of values) {
        const of = this.values[value] as Value
        if (of.constant || ports.has(value) || grids.has(value)) continue
        const bytes = Math.ceil(bytesOfValue(of) / ALIGNMENT) * ALIGNMENT
        const life = lives.get(value) ?? { bytes, first: step, last: step }
        life.last = step
        lives.set(value, life)
      }
    })
    const { offsets, bytes } = placeBlocks([...lives.values()])
    const offsetOf = (value: number) => {
      const life = lives.get(value)
      return life ? (offsets.get(life) as number) : null
    }
    return { offsets: this.values.map((_, value) => offsetOf(value)), bytes, grids }
  }
}
