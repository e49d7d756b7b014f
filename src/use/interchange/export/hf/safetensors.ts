/** safetensors files of an architecture's tensors, in shards with an index if they are large. */

import {
  indexFile,
  type OutputFile,
  type StoredTensor,
  tensorFile,
} from '../../../../train/run/checkpoint/safetensors.ts'
import type { TheirTensor } from '../../../foreign/architectures/contract.ts'
import type { NumberDtype } from '../contract.ts'
import { bytesOfDtype, encode } from '../encode.ts'
import { gatherTensor } from '../their-tensors.ts'
import type { Weights } from '../weights.ts'

/** Maximum number of bytes of tensors in a file, as in save_pretrained. */
const SHARD_BYTES = 5e9

const names: Readonly<Record<NumberDtype, string>> = { float32: 'F32', bf16: 'BF16', f16: 'F16' }

export const storedTensor = (theirs: TheirTensor, weights: Weights, dtype: NumberDtype): StoredTensor => ({
  name: theirs.name,
  dtype: names[dtype],
  shape: theirs.shape,
  byteLength: bytesOfDtype[dtype] * theirs.shape.reduce((product, length) => product * length, 1),
  read: async () => encode(await gatherTensor(theirs, weights), dtype, theirs.name),
})

export function safetensorsFiles(tensors: readonly StoredTensor[], shardBytes = SHARD_BYTES): OutputFile[] {
  const shards: StoredTensor[][] = [[]]
  let filled = 0
  for (const tensor of tensors) {
    if (filled > 0 && filled + tensor.byteLength > shardBytes) {
      shards.push([])
      filled = 0
    }
    shards.at(-1)?.push(tensor)
    filled += tensor.byteLength
  }
  if (shards.length === 1) return [tensorFile('model.safetensors', tensors)]
  const digits = (number: number) => String(number).padStart(5, '0')
  const nameOf = (i: number) => `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`
  const index = shards.map((shard, i) => [
    nameOf(i),
    shard.map(({ name, byteLength }) => ({ name, bytes: byteLength })),
  ])
  return [...shards.map((shard, i) => tensorFile(nameOf(i), shard)), indexFile('model', Object.fromEntries(index))]
}
