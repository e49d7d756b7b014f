/**
 * Writes a program as an ONNX model.
 *
 * A node is called `layer/op/Type_n`, so errors and profiles of the runtime can be reported by layer and
 * op (see `Model.origins`). Equal constants are written once.
 */
import type { Model, Origin, Port } from './model.ts'
import { encodeOnnx, type OnnxNode, type OnnxPort, type OnnxTensor } from './onnx-file.ts'
import { type Program, reach } from './program.ts'
import { type Constant, type ConstantData, emit, type Node, RAGGED, type Tensor } from './tensor.ts'

/** ONNX operator set, and the IR version that came with it. */
const OPSET = 21
const IR_VERSION = 10

export interface OnnxOptions {
  /** Whether node names leave the layer out, so that equal programs of different layers have equal bytes. */
  readonly anonymous?: boolean
}

export function toOnnx(program: Program, { anonymous = false }: OnnxOptions = {}): Model {
  const outputs = Object.entries(program.outputs).map(([name, tensor]) => ({ name, tensor: asNodeOutput(tensor) }))
  const { nodes, inputs } = reach({ outputs: Object.fromEntries(outputs.map(({ name, tensor }) => [name, tensor])) })

  const names = new Names()
  for (const tensor of inputs) names.name(tensor.source, 0, tensor.source.name)
  const renamed = outputs.filter(({ name, tensor }) => !names.name(tensor.source as Node, tensor.output, name))
  const origins = new Map<string, Origin>()

  const written = nodes.map((node): OnnxNode => {
    if (node.domain === 'choir') throw new Error(`internal: the kernel ${node.type} in an ONNX model`)
    const { layer, op } = node.origin
    const name = anonymous ? `n${origins.size}` : `${layer}/${op}/${node.type}_${origins.size}`
    origins.set(name, node.origin)
    return {
      name,
      type: node.type,
      domain: node.domain,
      inputs: node.inputs.map((tensor) => names.of(tensor)),
      outputs: node.outputs.map((_, i) => names.ofOutput(node, i)),
      attributes: node.attributes,
    }
  })
  // If a value has two output names, the second is a copy.
  for (const { name, tensor } of renamed)
    written.push({
      name: `/copy/${name}`,
      type: 'Identity',
      domain: '',
      inputs: [names.of(tensor)],
      outputs: [name],
      attributes: {},
    })

  const bytes = encodeOnnx({
    irVersion: IR_VERSION,
    operatorSets: { '': OPSET, 'com.microsoft': 1 },
    graph: {
      name: 'program',
      nodes: written,
      tensors: names.constants,
      inputs: inputs.map((tensor) => portOf(tensor.source.name, tensor)),
      outputs: outputs.map(({ name, tensor }) => portOf(name, tensor)),
    },
  })
  const port = (name: string, { dtype, shape }: Tensor): Port => ({ name, dtype, shape })
  return {
    bytes,
    inputs: inputs.map((tensor) => port(tensor.source.name, tensor)),
    outputs: outputs.map(({ name, tensor }) => port(name, tensor)),
    origins,
  }
}

/** An output must be the result of a node, so an input or a constant is copied. */
const asNodeOutput = (tensor: Tensor): Tensor =>
  tensor.source.kind === 'node' ? tensor : emit('Identity', [tensor], { shape: tensor.shape })

/** Names of values. Constants are named and collected on first use. */
class Names {
  readonly constants: OnnxTensor[] = []
  private readonly values = new Map<object, Map<number, string>>()
  private readonly constantsByKey = new Map<string, readonly { name: string; data: ConstantData }[]>()
  private count = 0

  /** Names a value; returns false if it already has a name. */
  name(source: object, output: number, name: string): boolean {
    const outputs = this.values.get(source) ?? new Map<number, string>()
    this.values.set(source, outputs)
    if (outputs.has(output)) return false
    outputs.set(output, name)
    return true
  }

  of(tensor: Tensor): string {
    return tensor.source.kind === 'constant'
      ? this.ofConstant(tensor.source, tensor)
      : this.ofOutput(tensor.source, tensor.output)
  }

  ofOutput(source: object, output: number): string {
    const known = this.values.get(source)?.get(output)
    if (known !== undefined) return known
    const name = `t${this.count++}`
    this.name(source, output, name)
    return name
  }

  private ofConstant(source: Constant, tensor: Tensor): string {
    const known = this.values.get(source)?.get(0)
    if (known !== undefined) return known
    const key = `${tensor.dtype}[${tensor.shape}]${source.data.subarray(0, 8)}`
    const candidates = this.constantsByKey.get(key) ?? []
    const same = candidates.find(({ data }) => sameContent(data, source.data))
    const name = same?.name ?? `c${this.constants.length}`
    if (!same) {
      this.constantsByKey.set(key, [...candidates, { name, data: source.data }])
      this.constants.push(constantOf(name, source.data, tensor))
    }
    this.name(source, 0, name)
    return name
  }
}

const sameContent = (a: ConstantData, b: ConstantData): boolean => a.every((value, i) => value === b[i])

const constantOf = (name: string, data: ConstantData, { dtype, shape }: Tensor): OnnxTensor => ({
  name,
  dtype,
  shape,
  contents: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
})

const portOf = (name: string, { dtype, shape }: Tensor): OnnxPort => ({
  name,
  dtype,
  shape: shape.map((d) => (d >= 0 ? d : d === RAGGED ? 'rows' : `size${-d}`)),
})
