/**
 * The files of an ONNX model: `model.onnx`, and for a large model `model.onnx_data` with its weights. Protocol buffers
 * end at 2 GB, and a file with its weights is held in memory whole while it is written.
 */

import type { ExternalPlace } from '../../../../core/graph/onnx-file.ts'
import { bytesFile, type OutputFile } from '../../../../train/run/checkpoint/safetensors.ts'
import type { Initializer, OnnxBuilder } from './builder.ts'

/** Maximum number of bytes of weights that are stored in the same file as the graph. */
const MAX_INLINE_BYTES = 512 * 2 ** 20
/** Tensors of fewer bytes stay with the graph: runtimes read axes and shapes while they load it. */
const MIN_EXTERNAL_BYTES = 1024
/** A tensor outside the graph's file begins at a multiple of this, so that it can be mapped into memory. */
const ALIGNMENT = 4096

/** The files to write. Their names are relative to the folder of the model. */
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
