/**
 * Builds an ONNX graph whose shapes are known only when it runs.
 *
 * Think of it as writing nodes by hand: values are names, a node takes names and returns names. The graph of training
 * (`src/core/graph`) has fixed shapes and checks them; a model for other runtimes must take any batch and any length, so its
 * nodes are written here directly, in standard ONNX ops alone.
 */
import onnxProto from 'onnx-proto'

const { onnx } = onnxProto

/** The set of standard ops, and the version of the file format that came with it (2023). */
export const OPSET = 18
const IR_VERSION = 8

/** Name of a value in the graph. */
export type Value = string

/** Integers, or a float as `{ float }`. */
export type Attributes = Readonly<Record<string, number | readonly number[] | { readonly float: number }>>

export type ElementType = 'float32' | 'int64'

const elementTypes: Record<ElementType, number> = {
  float32: onnx.TensorProto.DataType.FLOAT,
  int64: onnx.TensorProto.DataType.INT64,
}

/** A tensor of the file, read when it is written. */
export interface Initializer {
  readonly name: string
  readonly type: ElementType
  readonly shape: readonly number[]
  readonly byteLength: number
  read(): Promise<Uint8Array>
}

/** Shape of an input or output; a text is the name of a length that is known when the model runs. */
export type PortShape = readonly (number | string)[]

/** Where the bytes of a tensor are, if they are not in the file of the graph. */
export interface ExternalPlace {
  readonly file: string
  readonly offset: number
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)

export class OnnxBuilder {
  /** Weights and constants in order of their first use. */
  readonly initializers: Initializer[] = []
  private readonly nodes: object[] = []
  private readonly inputs: object[] = []
  private readonly outputs: object[] = []
  private readonly known = new Set<string>()
  private scopeName = ''

  /** Names of nodes that `build` adds begin with `name`, so profiles and errors of a runtime can be read. */
  scope<T>(name: string, build: () => T): T {
    const outer = this.scopeName
    this.scopeName = `${outer}/${name}`
    try {
      return build()
    } finally {
      this.scopeName = outer
    }
  }

  input(name: string, type: ElementType, shape: PortShape): Value {
    this.inputs.push(port(name, type, shape))
    return name
  }

  /** Gives a value the name of an output. */
  output(name: string, value: Value, type: ElementType, shape: PortShape): void {
    this.outputs.push(port(name, type, shape))
    this.nodes.push(nodeOf(`${this.scopeName}/Identity_${this.nodes.length}`, 'Identity', [value], [name], {}))
  }

  op(type: string, inputs: readonly Value[], attributes: Attributes = {}): Value {
    return this.ops(type, inputs, 1, attributes)[0] as Value
  }

  /** A node with several results. */
  ops(type: string, inputs: readonly Value[], results: number, attributes: Attributes = {}): readonly Value[] {
    const name = `${this.scopeName}/${type}_${this.nodes.length}`
    const outputs = Array.from({ length: results }, (_, i) => (results === 1 ? name : `${name}.${i}`))
    this.nodes.push(nodeOf(name, type, inputs, outputs, attributes))
    return outputs
  }

  /** A parameter of the model, whole or one expert of a stacked one. The same name is the same tensor. */
  weight(name: string, shape: readonly number[], read: () => Promise<Float32Array>): Value {
    const byteLength = 4 * shape.reduce((product, length) => product * length, 1)
    return this.initializer({ name, type: 'float32', shape, byteLength, read: async () => bytesOf(await read()) })
  }

  floats(values: Float32Array, shape: readonly number[]): Value {
    return this.constant('float32', values, shape)
  }

  float(value: number): Value {
    return this.floats(Float32Array.of(value), [])
  }

  ints(values: ArrayLike<number>, shape: readonly number[] = [values.length]): Value {
    return this.constant('int64', BigInt64Array.from(Array.from(values, BigInt)), shape)
  }

  int(value: number): Value {
    return this.ints([value], [])
  }

  private constant(type: ElementType, values: Float32Array | BigInt64Array, shape: readonly number[]): Value {
    const bytes = bytesOf(values)
    // Small constants such as axes recur in every layer; large ones are tables, which the caller makes once.
    const label = values.length <= 8 ? [...values].join('_') : `table_${this.initializers.length}`
    const name = `constant.${type}.${shape.join('x')}.${label}`
    return this.initializer({ name, type, shape, byteLength: bytes.length, read: async () => bytes })
  }

  private initializer(tensor: Initializer): Value {
    if (!this.known.has(tensor.name)) {
      this.known.add(tensor.name)
      this.initializers.push(tensor)
    }
    return tensor.name
  }

  /**
   * The bytes of the file.
   * @param place The place of a tensor outside this file; null if its bytes are in this one.
   */
  async encode(metadata: Readonly<Record<string, string>>, place: (tensor: Initializer) => ExternalPlace | null) {
    const initializer = await Promise.all(
      this.initializers.map(async (tensor) => {
        const { name, type, shape, byteLength } = tensor
        const common = { name, dataType: elementTypes[type], dims: [...shape] }
        const external = place(tensor)
        if (!external) return { ...common, rawData: await tensor.read() }
        const entries = { location: external.file, offset: String(external.offset), length: String(byteLength) }
        return {
          ...common,
          dataLocation: onnx.TensorProto.DataLocation.EXTERNAL,
          externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
        }
      }),
    )
    const model = onnx.ModelProto.create({
      irVersion: IR_VERSION,
      producerName: 'choir',
      opsetImport: [{ domain: '', version: OPSET }],
      metadataProps: Object.entries(metadata).map(([key, value]) => ({ key, value })),
      graph: { name: 'causal-lm', node: this.nodes, initializer, input: this.inputs, output: this.outputs },
    })
    return onnx.ModelProto.encode(model).finish()
  }
}

const nodeOf = (
  name: string,
  opType: string,
  input: readonly Value[],
  output: readonly Value[],
  attributes: Attributes,
) => ({ name, opType, input: [...input], output: [...output], attribute: Object.entries(attributes).map(attribute) })

function attribute([name, value]: [string, Attributes[string]]) {
  const types = onnx.AttributeProto.AttributeType
  if (typeof value === 'number') return { name, type: types.INT, i: value }
  if ('float' in (value as object)) return { name, type: types.FLOAT, f: (value as { float: number }).float }
  return { name, type: types.INTS, ints: [...(value as readonly number[])] }
}

const port = (name: string, type: ElementType, shape: PortShape) => ({
  name,
  type: {
    tensorType: {
      elemType: elementTypes[type],
      shape: { dim: shape.map((length) => (typeof length === 'string' ? { dimParam: length } : { dimValue: length })) },
    },
  },
})
