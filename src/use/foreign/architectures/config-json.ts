/** Converts between config.json and the configuration of a model, by the table of its architecture. */
import { z } from 'zod'
import { type Fields, isFields } from '../../../core/config/fields.ts'
import { merge } from '../../../core/config/preset-fields.ts'
import { formatValue, listWithOr, parseInput, suggestion } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import { type ModelConfig, modelSchema } from '../../../core/model/config.ts'
import { computationOf, differences } from './computation.ts'
import type { Architecture } from './contract.ts'
import { deepseekArchitectures } from './deepseek.ts'
import { denseArchitectures } from './dense.ts'
import { readSettings, refuse, unknownKeys } from './settings.ts'
import { sparseArchitectures } from './sparse.ts'

/** All architectures. */
export const architectures: readonly Architecture[] = [
  ...denseArchitectures,
  ...sparseArchitectures,
  ...deepseekArchitectures,
]

/** Well-known architectures that Choir does not compute, with the reason. */
const unsupported: Readonly<Record<string, string>> = {
  choir: 'choir export wrote this folder, for transformers; give the run that it was exported from instead',
  deepseek_v2: 'its attention compresses keys and values (MLA), which Choir does not have',
  deepseek_v3: 'its attention compresses keys and values (MLA), which Choir does not have',
  glm4_moe: 'it rotates only half of a head, which Choir does not do',
  gpt_oss: 'its attention has sinks and its experts have biases, which Choir does not have',
  phimoe: 'its router samples experts one after the other and its norms have biases',
  qwen3_next: 'it has linear attention, which Choir does not have',
  gpt2: 'its layers have biases, which Choir does not have',
  gemma2: 'its activations are GELU-gated and its scores are capped, which Choir does not do',
  olmo2: 'it norms the output of a branch instead of its input, which Choir does not do',
}

/** The architecture of a `model_type`. @throws UsageError naming the known types if there is no such architecture */
export function architectureOf(type: unknown): Architecture {
  const types = architectures.map((each) => each.type)
  const found = architectures.find((each) => each.type === type)
  if (found) return found
  const reason = typeof type === 'string' && Object.hasOwn(unsupported, type) ? `: ${unsupported[type]}` : ''
  throw new UsageError(
    `unsupported model_type ${formatValue(type)}${reason} (supported: ${listWithOr(types)}${suggestion(type, types)})`,
  )
}

/**
 * The configuration of a model in a config.json. Capacity is `none`: these models drop no tokens.
 * @returns `ignored` are keys that Choir does not know and that might change what the model computes.
 * @throws UsageError naming the key with a value that Choir does not compute
 */
export function modelOf(config: Fields): { model: ModelConfig; architecture: Architecture; ignored: string[] } {
  const architecture = architectureOf(config.model_type)
  if (isFields(config.quantization_config))
    refuse('quantization_config', config.quantization_config.quant_method ?? '', 'float32, bfloat16 or float16 weights')
  const fields = readSettings(config, architecture.settings)
  const model = isFields(fields.moe) ? merge(fields, { moe: { capacity: 'none', zLoss: 0 } }) : fields
  const ignored = unknownKeys(config, architecture.settings)
  return { model: parseInput(z.object({ model: modelSchema }), { model }, 'config.json').model, architecture, ignored }
}

/**
 * The keys of config.json for a model, without the keys of its tokenizer and dtype.
 * @throws UsageError naming the fields that the architecture cannot express
 */
export function configOf(architecture: Architecture, model: ModelConfig): Fields {
  const written = architecture.settings.map(({ write }) => write(model)).reduce(merge, {})
  const config: Fields = { architectures: [architecture.className], model_type: architecture.type, ...written }
  const computed = computationOf(readBack(architecture, config))
  const lost = differences(computationOf(model), computed)
  if (lost.length === 0) return config
  const list = lost.map(
    ({ field, from, to }) => `\n  model.${field}: ${formatValue(from)} (${architecture.type}: ${formatValue(to)})`,
  )
  throw new UsageError(`cannot express this model as ${architecture.type}: it differs in${list.join('')}`)
}

/** The model that others would read. @throws UsageError if they could not read it at all */
function readBack(architecture: Architecture, config: Fields): ModelConfig {
  try {
    return modelOf(config).model
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    throw new UsageError(`cannot express this model as ${architecture.type}: ${error.message}`)
  }
}
