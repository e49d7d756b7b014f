/** The tensors of a model as they are stored in a GGUF file. */
import type { ModelConfig } from '../../../../core/model/config.ts'
import type { TheirTensor } from '../../../foreign/architectures/contract.ts'
import {
  type GgufTensorOptions,
  ggufTensorsOf,
  ROTARY_DIVISORS,
  rotaryDivisors,
} from '../../../foreign/gguf/tensors.ts'
import type { ExportDtype } from '../contract.ts'
import { bytesOfDtype, encode } from '../encode.ts'
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

function stored(theirs: TheirTensor, weights: Weights, dtype: ExportDtype): GgufTensor {
  const type = isKeptWhole(theirs) ? 'float32' : dtype
  const { name, shape } = theirs
  const byteLength = bytesOfDtype[type] * shape.reduce((product, length) => product * length, 1)
  return { name, shape, type, byteLength, read: async () => encode(await gatherTensor(theirs, weights), type, name) }
}

function divisors(model: ModelConfig): GgufTensor {
  const factors = rotaryDivisors(model)
  const read = async () => new Uint8Array(factors.buffer)
  return { name: ROTARY_DIVISORS, shape: [factors.length], type: 'float32', byteLength: factors.byteLength, read }
}
