/**
 * Small ONNX models for tests, written directly with the ONNX schema, so that tests of the runtime do not depend
 * on the graph compiler.
 */
import type { DType, Model, Origin, Port, Shape } from '../../core/graph/model.ts'
import { encodeWithSchema } from '../../core/graph/testing/onnx-schema.ts'

/** AttributeProto.AttributeType */
const AttributeType = { FLOAT: 1, INT: 2, STRING: 3, INTS: 7 } as const
/** TensorProto.DataType */
const types: Readonly<Record<DType, number>> = { float32: 1, int32: 6, int64: 7, bool: 9, float64: 11 }

export type Attribute = number | string | readonly number[] | { readonly float: number }

export interface NodeSpec {
  /** Domain and type of the operator: `MatMul` or `com.microsoft.FusedMatMul`. */
  readonly type: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes?: Readonly<Record<string, Attribute>>
  readonly origin?: Origin
}

/** A port such as `float32[2, 3]`, or `float32[n, 3]` with a size known only at run time. */
export function port(name: string, dtype: DType, shape: Shape): Port {
  return { name, dtype, shape }
}

export interface Versions {
  readonly opset: number
  readonly ir: number
}

/** A model of these nodes, whose names are `type:index`, e.g. `Add:0`. Dimensions of -1 are symbolic. */
export function onnxModel(
  inputs: readonly Port[],
  outputs: readonly Port[],
  nodes: readonly NodeSpec[],
  versions: Versions = { opset: 21, ir: 10 },
): Model {
  const name = (spec: NodeSpec, index: number) => `${spec.type.split('.').at(-1)}:${index}`
  const bytes = encodeWithSchema({
    irVersion: versions.ir,
    opsetImport: [
      { domain: '', version: versions.opset },
      { domain: 'com.microsoft', version: 1 },
    ],
    graph: {
      name: 'test',
      input: inputs.map(valueInfo),
      output: outputs.map(valueInfo),
      node: nodes.map((spec, index) => {
        const parts = spec.type.split('.')
        return {
          name: name(spec, index),
          opType: parts.at(-1) ?? '',
          domain: parts.slice(0, -1).join('.'),
          input: [...spec.inputs],
          output: [...spec.outputs],
          attribute: Object.entries(spec.attributes ?? {}).map(([key, value]) => attribute(key, value)),
        }
      }),
    },
  })
  const origins = nodes.map((spec, index) => [name(spec, index), spec.origin ?? { op: spec.type, layer: '' }] as const)
  return { bytes, inputs, outputs, origins: new Map(origins) }
}

function valueInfo({ name, dtype, shape }: Port) {
  const dim = shape.map((size, axis) => (size < 0 ? { dimParam: `${name}${axis}` } : { dimValue: size }))
  return { name, type: { tensorType: { elemType: types[dtype], shape: { dim } } } }
}

function attribute(name: string, value: Attribute) {
  if (typeof value === 'number') return { name, type: AttributeType.INT, i: value }
  if (typeof value === 'string') return { name, type: AttributeType.STRING, s: new TextEncoder().encode(value) }
  if ('float' in value) return { name, type: AttributeType.FLOAT, f: value.float }
  return { name, type: AttributeType.INTS, ints: [...value] }
}
