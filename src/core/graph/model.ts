/**
 * A program written as ONNX: bytes and the ports to bind. This is all that a runtime needs to know of
 * a graph.
 */

export type DType = 'float32' | 'float64' | 'int32' | 'int64' | 'bool'

/** Static dimensions. `[]` is a scalar. */
export type Shape = readonly number[]

/** A named input or output of a model. */
export interface Port {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
}

/** Origin of an ONNX node: the op in our graph, and the model layer that made it. */
export interface Origin {
  /** Name of the op, with a prime when it is part of a gradient, e.g. `softmax` or `softmax'`. */
  readonly op: string
  /** Scope of the layer, e.g. `layers.0.attention`; empty at top level. */
  readonly layer: string
}

/** A program written as an ONNX model. */
export interface Model {
  /** The serialised `ModelProto`. */
  readonly bytes: Uint8Array
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  /** Origin of each ONNX node, by node name; errors and profiles report these origins. */
  readonly origins: ReadonlyMap<string, Origin>
}
