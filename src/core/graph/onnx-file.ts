/**
 * The file format of ONNX: messages of Protocol Buffers, by the field numbers of onnx.proto
 * (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). It has only the fields that Choir writes.
 */
import { bytesField, type Field, floatField, message, messageField, textField, varintField } from '../text/protobuf.ts'
import type { DType } from './model.ts'
import type { AttributeValue } from './tensor.ts'

/** TensorProto.DataType */
const dataTypes: Readonly<Record<DType, number>> = { float32: 1, int32: 6, int64: 7, bool: 9, float64: 11 }

/** AttributeProto.AttributeType */
const attributeTypes = { float: 1, int: 2, string: 3, ints: 7 } as const

/** TensorProto.DataLocation.EXTERNAL */
const EXTERNAL = 1

export interface OnnxModel {
  /** Version of the file format. */
  readonly irVersion: number
  /** Versions of the operator sets, by domain; the domain of ONNX's own operators is empty. */
  readonly operatorSets: Readonly<Record<string, number>>
  readonly metadata?: Readonly<Record<string, string>>
  readonly graph: OnnxGraph
}

export interface OnnxGraph {
  readonly name: string
  /** Nodes, in an order in which they can be computed. */
  readonly nodes: readonly OnnxNode[]
  readonly tensors: readonly OnnxTensor[]
  readonly inputs: readonly OnnxPort[]
  readonly outputs: readonly OnnxPort[]
}

export interface OnnxNode {
  readonly name: string
  readonly type: string
  readonly domain: string
  /** Names of the values that the node reads. */
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: Readonly<Record<string, AttributeValue>>
}

/** A constant; its contents, little-endian, are here or in another file. */
export interface OnnxTensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly contents: Uint8Array | ExternalPlace
}

/** Bytes `offset` to `offset + length` (exclusive) of a file beside the model's. */
export interface ExternalPlace {
  readonly file: string
  readonly offset: number
  readonly length: number
}

export interface OnnxPort {
  readonly name: string
  readonly dtype: DType
  /** Lengths of the dimensions; a text is the name of a length that is known only when the model runs. */
  readonly shape: readonly (number | string)[]
}

/** The bytes of an ONNX file. */
export function encodeOnnx({ irVersion, operatorSets, metadata = {}, graph }: OnnxModel): Uint8Array {
  return message(
    varintField(1, irVersion),
    textField(2, 'choir'),
    messageField(
      7,
      // Joined first: a large model has more nodes than a call may have arguments.
      graph.nodes.flatMap(nodeField),
      textField(2, graph.name),
      graph.tensors.flatMap(tensorField),
      ...graph.inputs.map((port) => portField(11, port)),
      ...graph.outputs.map((port) => portField(12, port)),
    ),
    ...Object.entries(operatorSets).map(([domain, version]) =>
      messageField(8, textField(1, domain), varintField(2, version)),
    ),
    ...Object.entries(metadata).map((entry) => entryField(14, entry)),
  )
}

const nodeField = ({ name, type, domain, inputs, outputs, attributes }: OnnxNode): Field =>
  messageField(
    1,
    ...inputs.map((input) => textField(1, input)),
    ...outputs.map((output) => textField(2, output)),
    textField(3, name),
    textField(4, type),
    ...Object.entries(attributes).map(([key, value]) => messageField(5, textField(1, key), ...attribute(value))),
    textField(7, domain),
  )

function attribute(value: AttributeValue): Field[] {
  const typed = (type: keyof typeof attributeTypes, ...fields: Field[]) => [
    ...fields,
    varintField(20, attributeTypes[type]),
  ]
  if (typeof value === 'number') return typed('int', varintField(3, value))
  if (typeof value === 'string') return typed('string', textField(4, value))
  if ('float' in value) return typed('float', floatField(2, value.float))
  return typed('ints', ...value.map((each) => varintField(8, each)))
}

const tensorField = ({ name, dtype, shape, contents }: OnnxTensor): Field =>
  messageField(
    5,
    ...shape.map((length) => varintField(1, length)),
    varintField(2, dataTypes[dtype]),
    textField(8, name),
    ...(contents instanceof Uint8Array ? [bytesField(9, contents)] : external(contents)),
  )

const external = ({ file, offset, length }: ExternalPlace): Field[] => [
  entryField(13, ['location', file]),
  entryField(13, ['offset', String(offset)]),
  entryField(13, ['length', String(length)]),
  varintField(14, EXTERNAL),
]

const portField = (field: number, { name, dtype, shape }: OnnxPort): Field =>
  messageField(
    field,
    textField(1, name),
    messageField(2, messageField(1, varintField(1, dataTypes[dtype]), messageField(2, ...shape.map(dimension)))),
  )

const dimension = (length: number | string): Field =>
  messageField(1, typeof length === 'string' ? textField(2, length) : varintField(1, length))

const entryField = (field: number, [key, value]: readonly [string, string]): Field =>
  messageField(field, textField(1, key), textField(2, value))
