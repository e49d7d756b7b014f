/** Settings of which architectures are made: a key that equals a field, a key with one accepted value, and others. */
import { type Fields, isFields } from '../../../core/config/fields.ts'
import { merge } from '../../../core/config/preset-fields.ts'
import { formatValue, listWithOr } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import { float32Range, isFloat32 } from '../../../core/model/config/limits.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import type { Setting } from './contract.ts'

/** Refuses the value of a key. @throws UsageError always, with the key, the value and what is supported */
export function refuse(key: string, value: unknown, supported: string): never {
  throw new UsageError(`config.json: unsupported ${key}: ${formatValue(value)} (supported: ${supported})`)
}

/** The value of a key; undefined if it is absent or null. Where these differ in meaning, use {@link orDefault}. */
export const given = (config: Fields, key: string): unknown => config[key] ?? undefined

/**
 * The checked value of a key that may be null. An absent key has the default of their configuration class, which is not
 * null; files that were written by hand or by other programs leave the key out.
 */
export const orDefault = (config: Fields, key: string, kind: Kind, fallback: number | null): number | null =>
  Object.hasOwn(config, key) ? valueAt<number | null>(config, key, kind, null) : fallback

interface Kind {
  readonly accepts: (value: unknown) => boolean
  readonly expected: string
}

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value)
export const counts: Kind = {
  accepts: (value) => Number.isSafeInteger(value) && (value as number) > 0,
  expected: 'a positive integer',
}
export const naturals: Kind = {
  accepts: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  expected: 'an integer from 0',
}
/** Constants of a model are factors of float32 numbers. */
export const numbers: Kind = {
  accepts: (value) => isNumber(value) && isFloat32(value),
  expected: `a positive number of float32, ${float32Range}`,
}
export const flags: Kind = { accepts: (value) => typeof value === 'boolean', expected: 'true or false' }

/**
 * The checked value of a key.
 * @param fallback Value of an absent key: the default of their configuration class. Without it the key is needed.
 * @throws UsageError if the key is absent without a fallback, or its value is not of this kind
 */
export function valueAt<T>(config: Fields, key: string, kind: Kind, fallback?: T): T {
  const value = given(config, key) ?? fallback
  if (value === undefined) throw new UsageError(`config.json lacks ${key} (expected ${kind.expected})`)
  if (value !== null && !kind.accepts(value))
    throw new UsageError(`config.json: invalid ${key}: ${formatValue(value)} (expected ${kind.expected})`)
  return value as T
}

/**
 * A key that has the value of a field.
 * @param field Path in `ModelConfig`, such as `moe.experts`.
 * @param fallback See {@link valueAt}.
 */
export const same = (key: string, field: string, kind: Kind = counts, fallback?: number | boolean | null): Setting => ({
  keys: [key],
  read: (config) => nested(field, valueAt(config, key, kind, fallback)),
  write: (model) => ({ [key]: fieldOf(model, field) }),
})

/**
 * A key that has no field, since Choir computes only one value of it. An absent key has that value.
 * @param accepted Values that mean this, of which the first is written.
 */
export const only = (key: string, accepted: readonly unknown[], supported?: string): Setting => ({
  keys: [key],
  read(config) {
    const value = given(config, key)
    if (value !== undefined && !accepted.includes(value))
      refuse(key, value, supported ?? listWithOr(accepted.filter((each) => each !== null).map(formatValue)))
    return {}
  },
  write: () => ({ [key]: accepted[0] }),
})

/** Fields that every model of an architecture has. Nothing is written: reading gives them back. */
export const always = (fields: Fields): Setting => ({ keys: [], read: () => fields, write: () => ({}) })

/** Settings that all architectures like Llama have. @param epsilon Default of `rms_norm_eps` in their class. */
export const decoderSettings = ({ epsilon = 1e-6 }: { readonly epsilon?: number } = {}): Setting[] => [
  same('vocab_size', 'vocabulary'),
  same('hidden_size', 'width'),
  same('num_hidden_layers', 'layers'),
  same('max_position_embeddings', 'sequence'),
  same('rms_norm_eps', 'normEpsilon', numbers, epsilon),
  same('tie_word_embeddings', 'tied', flags, false),
  only('hidden_act', ['silu', 'swish']),
  always({ norm: 'rms', activation: 'swiglu', embeddingScale: 1, headScale: 1 }),
]

/**
 * Keys that do not change what a model computes: token ids, training, generation, storage and the machinery of
 * transformers.
 */
const idle = new Set(
  `_name_or_path architectures attention_dropout auto_map aux_loss_alpha bos_token_id chunk_size_feed_forward
  _attn_implementation _attn_implementation_autoset dtype embd_pdrop ep_size eos_token_id finetuning_task id2label
  initializer_range is_decoder is_encoder_decoder is_llama_config keys_to_ignore_at_inference label2id
  max_window_layers model_type output_attentions output_hidden_states output_router_logits pad_token_id
  pretraining_tp problem_type resid_pdrop return_dict rope_interleaved router_aux_loss_coef router_jitter_noise
  router_z_loss_coef seq_aux task_specific_params tokenizer_class torch_dtype torchscript transformers_version
  unsloth_fixed unsloth_version use_bfloat16 use_cache`.split(/\s+/),
)

/** Keys of config.json that no setting reads and that may change what the model computes. */
export const unknownKeys = (config: Fields, settings: readonly Setting[]): string[] => {
  const known = new Set(settings.flatMap(({ keys }) => keys))
  return Object.keys(config).filter((key) => !known.has(key) && !idle.has(key) && given(config, key) !== undefined)
}

/** Reads all settings of an architecture. */
export const readSettings = (config: Fields, settings: readonly Setting[]): Fields =>
  settings.map(({ read }) => read(config)).reduce(merge, {})

const nested = (path: string, value: unknown): Fields =>
  path.split('.').reduceRight<unknown>((below, key) => ({ [key]: below }), value) as Fields

const fieldOf = (model: ModelConfig, path: string): unknown =>
  path.split('.').reduce<unknown>((value, key) => (isFields(value) ? value[key] : undefined), model)
