/** The tensors of a model as they are stored in a GGUF file. */
import type { ModelConfig } from '../../../../core/model/config.ts'
import type { TheirTensor } from '../../../foreign/architectures/contract.ts'
import {
  type GgufTensorOptions,
  ggufTensorsOf,
  ROTARY_DIVISORS,
  rotaryDivisors,
} from '../../../foreign/gguf/tensors.ts'
import { type ExportDtype, isBlockDtype } from '../contract.ts'
import { BLOCK, bytesOfBlock, bytesOfDtype, encode, encodeBlocks } from '../encode.ts'
import { gatherTensor } from '../their-tensors.ts'
import type { Weights } from '../weights.ts'
import type { GgufTensor } from './file.ts'

export function ggufTensors(
  model: ModelConfig,
  weights: Weights,
  { dtype, ...options }: GgufTensorOptions & { readonly dtype: ExportDtype },
): GgufTensor[] {
  const scaling = model.rotaryScaling?.kind === 'llama3' ? [divisors(model)] : []
  return [...ggufTensorsOf(model, options).map((theirs) => stored(theirs, weights, dtype)), ...scaling]
}

/** Whether a tensor stays float32: llama.cpp keeps vectors and routers in float32. */
const isKeptWhole = ({ name, shape }: TheirTensor): boolean => shape.length === 1 || name.includes('ffn_gate_inp')

/** The type of a tensor. Rows that are not whole blocks are f16, as in llama.cpp's own quantization. */
function typeOf(theirs: TheirTensor, dtype: ExportDtype): ExportDtype {
  if (isKeptWhole(theirs)) return 'float32'
  return isBlockDtype(dtype) && (theirs.shape.at(-1) as number) % BLOCK !== 0 ? 'f16' : dtype
}

function stored(theirs: TheirTensor, weights: Weights, dtype: ExportDtype): GgufTensor {
  const type = typeOf(theirs, dtype)
  const { name, shape } = theirs
  const size = shape.reduce((product, length) => product * length, 1)
  const byteLength = isBlockDtype(type) ? (size / BLOCK) * bytesOfBlock[type] : size * bytesOfDtype[type]
  const read = async () => {
    const values = await gatherTensor(theirs, weights)
    return isBlockDtype(type) ? encodeBlocks(values, type, name) : encode(values, type, name)
  }
  return { name, shape, type, byteLength, read }
}

function divisors(model: ModelConfig): GgufTensor {
  const factors = rotaryDivisors(model)
  const read = async () => new Uint8Array(factors.buffer)
  return { name: ROTARY_DIVISORS, shape: [factors.length], type: 'float32', byteLength: factors.byteLength, read }
}
