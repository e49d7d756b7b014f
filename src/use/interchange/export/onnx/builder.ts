/**
 * Builds an ONNX graph whose shapes are known only when it runs.
 *
 * Think of it as writing nodes by hand: values are names, a node takes names and returns names. The graph of training
 * (`src/core/graph`) has fixed shapes and checks them. A model for other runtimes must take any batch and any length,
 * so its nodes are written here directly, in standard ONNX ops alone.
 */
import { type ExternalPlace, encodeOnnx, type OnnxNode, type OnnxPort } from '../../../../core/graph/onnx-file.ts'
import { sizeOf } from '../../../../core/graph/shape.ts'
import { bytesFile, type OutputFile } from '../../../../train/run/checkpoint/safetensors.ts'

/** The set of standard ops, and the version of the file format that came with it (2023). */
export const OPSET = 18
const IR_VERSION = 8

/** Name of a value in the graph. */
export type Value = string

/** Integers, or a float as `{ float }`. */
export type Attributes = Readonly<Record<string, number | readonly number[] | { readonly float: number }>>

export type ElementType = 'float32' | 'int64'

/** A tensor of the file, read when it is written. */
export interface Initializer {
  readonly name: string
  readonly type: ElementType
  readonly shape: readonly number[]
  readonly byteLength: number
  read(): Promise<Uint8Array>
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)

export class OnnxBuilder {
  /** Weights and constants in order of their first use. */
  readonly initializers: Initializer[] = []
  private readonly nodes: OnnxNode[] = []
  private readonly inputs: OnnxPort[] = []
  private readonly outputs: OnnxPort[] = []
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

  input(name: string, dtype: ElementType, shape: OnnxPort['shape']): Value {
    this.inputs.push({ name, dtype, shape })
    return name
  }

  /** Gives a value the name of an output. */
  output(name: string, value: Value, dtype: ElementType, shape: OnnxPort['shape']): void {
    this.outputs.push({ name, dtype, shape })
    this.add(`${this.scopeName}/Identity_${this.nodes.length}`, 'Identity', [value], [name], {})
  }

  op(type: string, inputs: readonly Value[], attributes: Attributes = {}): Value {
    return this.ops(type, inputs, 1, attributes)[0] as Value
  }

  /** Adds a node with several results. */
  ops(type: string, inputs: readonly Value[], results: number, attributes: Attributes = {}): readonly Value[] {
    const name = `${this.scopeName}/${type}_${this.nodes.length}`
    const outputs = Array.from({ length: results }, (_, i) => (results === 1 ? name : `${name}.${i}`))
    this.add(name, type, inputs, outputs, attributes)
    return outputs
  }

  /** The largest `count` values along the last axis in descending order, and their indices. */
  largest(values: Value, count: number): readonly [best: Value, indices: Value] {
    const results = this.ops('TopK', [values, this.ints([count])], 2, { axis: -1, largest: 1, sorted: 1 })
    return results as [Value, Value]
  }

  private add(
    name: string,
    type: string,
    inputs: readonly Value[],
    outputs: readonly Value[],
    attributes: Attributes,
  ): void {
    this.nodes.push({ name, type, domain: '', inputs, outputs, attributes })
  }

  /** A parameter of the model: a whole tensor, or one expert of a stacked tensor. Each name is added only once. */
  weight(name: string, shape: readonly number[], read: () => Promise<Float32Array>): Value {
    const byteLength = 4 * sizeOf(shape)
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
    // Small constants such as axes recur in every layer; large constants are tables, which the caller makes once.
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
   * @param place Returns the place of a tensor outside this file; null if its bytes are in this file.
   */
  async encode(metadata: Readonly<Record<string, string>>, place: (tensor: Initializer) => ExternalPlace | null) {
    const tensors = await Promise.all(
      this.initializers.map(async (tensor) => {
        const { name, type: dtype, shape } = tensor
        return { name, dtype, shape, contents: place(tensor) ?? (await tensor.read()) }
      }),
    )
    const { nodes, inputs, outputs } = this
    return encodeOnnx({
      irVersion: IR_VERSION,
      operatorSets: { '': OPSET },
      metadata,
      graph: { name: 'causal-lm', nodes, tensors, inputs, outputs },
    })
  }
}

/** Maximum number of bytes of weights that are stored in the same file as the graph. */
const MAX_INLINE_BYTES = 512 * 2 ** 20
/** Tensors of fewer bytes stay with the graph: runtimes read axes and shapes while they load it. */
const MIN_EXTERNAL_BYTES = 1024
/** A tensor outside the graph's file begins at a multiple of this, so that it can be mapped into memory. */
const ALIGNMENT = 4096

/**
 * The files of a model: `model.onnx`, and for a large model `model.onnx_data` with its weights. Protocol buffers end at
 * 2 GB, and a file with its weights is held in memory whole while it is written. Names are relative to the folder of the
 * model.
 */
export async function onnxFiles(
  graph: OnnxBuilder,
  metadata: Readonly<Record<string, string>>,
  maxInlineBytes = MAX_INLINE_BYTES,
): Promise<OutputFile[]> {
  const total = graph.initializers.reduce((sum, { byteLength }) => sum + byteLength, 0)
  if (total <= maxInlineBytes) return [bytesFile('model.onnx', await graph.encode(metadata, () => null))]
  const file = 'model.onnx_data'
  const places = new Map<Initializer, ExternalPlace>()
  const pieces: OutputFile['pieces'][number][] = []
  let bytes = 0
  for (const tensor of graph.initializers) {
    if (tensor.byteLength < MIN_EXTERNAL_BYTES) continue
    const offset = Math.ceil(bytes / ALIGNMENT) * ALIGNMENT
    const padding = offset - bytes
    if (padding > 0) pieces.push({ byteLength: padding, read: async () => new Uint8Array(padding) })
    pieces.push(tensor)
    places.set(tensor, { file, offset, length: tensor.byteLength })
    bytes = offset + tensor.byteLength
  }
  const model = await graph.encode(metadata, (tensor) => places.get(tensor) ?? null)
  return [bytesFile('model.onnx', model), { name: file, bytes, pieces }]
}
