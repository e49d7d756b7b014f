/**
 * Writes a program as an ONNX model.
 *
 * A node is called `layer/op/Type_n`, so errors and profiles of the runtime can be reported by layer and
 * op (see `Model.origins`). Equal constants are written once.
 */
import onnxProto from 'onnx-proto'
import type { DType, Model, Origin, Port, Shape } from './model.ts'
import { type Program, reach } from './program.ts'
import {
  type AttributeValue,
  type Constant,
  type ConstantData,
  emit,
  type Node,
  RAGGED,
  type Tensor,
} from './tensor.ts'

const { onnx } = onnxProto

/** ONNX operator set, and the IR version that came with it. */
const OPSET = 21
const IR_VERSION = 10

const elementType: Record<DType, number> = {
  float32: onnx.TensorProto.DataType.FLOAT,
  float64: onnx.TensorProto.DataType.DOUBLE,
  int32: onnx.TensorProto.DataType.INT32,
  int64: onnx.TensorProto.DataType.INT64,
  bool: onnx.TensorProto.DataType.BOOL,
}

export interface OnnxOptions {
  /** Leaves layers out of node names, so that equal programs of different layers have equal bytes. */
  readonly anonymous?: boolean
}

export function toOnnx(program: Program, { anonymous = false }: OnnxOptions = {}): Model {
  const outputs = Object.entries(program.outputs).map(([name, tensor]) => ({ name, tensor: asNodeOutput(tensor) }))
  const { nodes, inputs } = reach({ outputs: Object.fromEntries(outputs.map(({ name, tensor }) => [name, tensor])) })

  const names = new Names()
  for (const tensor of inputs) names.name(tensor.source, 0, tensor.source.name)
  const renamed = outputs.filter(({ name, tensor }) => !names.name(tensor.source as Node, tensor.output, name))
  const origins = new Map<string, Origin>()

  const nodeProtos = nodes.map((node) => {
    if (node.domain === 'choir') throw new Error(`internal: the kernel ${node.type} in an ONNX model`)
    const { layer, op } = node.origin
    const name = anonymous ? `n${origins.size}` : `${layer}/${op}/${node.type}_${origins.size}`
    origins.set(name, node.origin)
    return {
      name,
      opType: node.type,
      domain: node.domain,
      input: node.inputs.map((tensor) => names.of(tensor)),
      output: node.outputs.map((_, i) => names.ofOutput(node, i)),
      attribute: Object.entries(node.attributes).map(([key, value]) => attribute(key, value)),
    }
  })
  // If a value has two output names, the second is a copy.
  for (const { name, tensor } of renamed)
    nodeProtos.push({
      name: `/copy/${name}`,
      opType: 'Identity',
      domain: '',
      input: [names.of(tensor)],
      output: [name],
      attribute: [],
    })

  const model = onnx.ModelProto.create({
    irVersion: IR_VERSION,
    producerName: 'choir',
    opsetImport: [
      { domain: '', version: OPSET },
      { domain: 'com.microsoft', version: 1 },
    ],
    graph: {
      name: 'program',
      node: nodeProtos,
      initializer: names.constants,
      input: inputs.map((tensor) => valueInfo(tensor.source.name, tensor)),
      output: outputs.map(({ name, tensor }) => valueInfo(name, tensor)),
    },
  })
  const port = (name: string, { dtype, shape }: Tensor): Port => ({ name, dtype, shape })
  return {
    bytes: onnx.ModelProto.encode(model).finish(),
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
  readonly constants: ReturnType<typeof initializer>[] = []
  private readonly values = new Map<object, Map<number, string>>()
  private readonly constantsByKey = new Map<string, readonly { name: string; data: ConstantData }[]>()
  private count = 0

  /** Names a value; false if it has a name already. */
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
      this.constants.push(initializer(name, source.data, tensor))
    }
    this.name(source, 0, name)
    return name
  }
}

const sameContent = (a: ConstantData, b: ConstantData): boolean => a.every((value, i) => value === b[i])

const initializer = (name: string, data: ConstantData, { dtype, shape }: Tensor) => ({
  name,
  dataType: elementType[dtype],
  dims: [...shape],
  rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
})

const valueInfo = (name: string, { dtype, shape }: { dtype: DType; shape: Shape }) => ({
  name,
  type: {
    tensorType: {
      elemType: elementType[dtype],
      shape: { dim: shape.map((d) => (d < 0 ? { dimParam: d === RAGGED ? 'rows' : `size${-d}` } : { dimValue: d })) },
    },
  },
})

function attribute(name: string, value: AttributeValue) {
  const types = onnx.AttributeProto.AttributeType
  if (typeof value === 'number') return { name, type: types.INT, i: value }
  if (typeof value === 'string') return { name, type: types.STRING, s: new TextEncoder().encode(value) }
  if ('float' in value) return { name, type: types.FLOAT, f: value.float }
  return { name, type: types.INTS, ints: [...value] }
}
