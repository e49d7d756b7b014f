/** The configuration of a model in a GGUF file: from its metadata, from its name in llama.cpp, and from its tensors. */
import { z } from 'zod'
import type { Fields } from '../../../core/config/fields.ts'
import { formatValue, listWithOr, parseInput, suggestion } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import { headWidthOf, type ModelConfig, modelSchema } from '../../../core/model/config.ts'
import { type GgufArchitecture, ggufArchitectures } from './architectures.ts'
import type { GgufHeader } from './header.ts'
import type { Metadata } from './metadata.ts'
import { ROTARY_DIVISORS, rotaryDivisors } from './tensors.ts'

export interface GgufConfig {
  /** The name in llama.cpp. */
  readonly name: string
  readonly architecture: GgufArchitecture
  readonly model: ModelConfig
  /** Keys of the architecture that Choir does not know. */
  readonly ignored: readonly string[]
}

/** Keys that change nothing: sizes that the tensors have too, and settings of other programs. */
const idle = new Set(['vocab_size', 'expert_feed_forward_length', 'expert_shared_feed_forward_length'])

/**
 * @param divisors Reads the tensor with the divisors of rotary angles; null if the file has no such tensor.
 * @throws UsageError naming the key with a value that Choir does not compute
 */
export async function ggufConfigOf(
  path: string,
  metadata: Metadata,
  tensors: GgufHeader['tensors'],
  divisors: () => Promise<Float32Array | null>,
): Promise<GgufConfig> {
  const name = metadata.text('general.architecture')
  const architecture = Object.hasOwn(ggufArchitectures, name) ? ggufArchitectures[name] : undefined
  const names = Object.keys(ggufArchitectures)
  if (!architecture)
    throw new UsageError(
      `${path}: unsupported general.architecture: ${formatValue(name)} (supported: ${listWithOr(names)}${suggestion(name, names)})`,
    )
  const fields = fieldsOf(path, name, architecture, metadata, tensors)
  const parsed = parseInput(z.object({ model: modelSchema }), { model: fields }, `the metadata of ${path}`).model
  const factors = await divisors()
  const model = factors ? { ...parsed, rotaryScaling: scalingOf(path, parsed, factors) } : parsed
  const ignored = metadata.unread(`${name}.`).filter((key) => !idle.has(key.slice(name.length + 1)))
  return { name, architecture, model, ignored }
}

function fieldsOf(
  path: string,
  name: string,
  { queryKeyNorm, renormalize }: GgufArchitecture,
  metadata: Metadata,
  tensors: GgufHeader['tensors'],
): Fields {
  const key = (rest: string) => `${name}.${rest}`
  const shape = (tensor: string) => tensors.get(tensor)?.shape
  const width = metadata.count(key('embedding_length'))
  const heads = metadata.count(key('attention.head_count'))
  const headWidth = metadata.count(key('attention.key_length'), width / heads)
  for (const other of ['attention.value_length', 'rope.dimension_count'])
    if (metadata.count(key(other), headWidth) !== headWidth)
      metadata.refuse(key(other), metadata.count(key(other)), `${headWidth}, the width of a head`)
  const embedding = shape('token_embd.weight')
  if (embedding?.length !== 2) throw new UsageError(`${path} has no matrix token_embd.weight`)
  const experts = metadata.natural(key('expert_count'), 0)
  const isGranite = name.startsWith('granite')
  const hasBias = (which: string) => tensors.has(`blk.0.attn_${which}.bias`)
  return {
    vocabulary: embedding[0],
    layers: metadata.count(key('block_count')),
    width,
    heads,
    headWidth,
    keyValueHeads: metadata.count(key('attention.head_count_kv'), heads),
    hidden: metadata.count(key('feed_forward_length')),
    sequence: metadata.count(key('context_length')),
    queryKeyNorm,
    attentionBias: hasBias('output') ? 'all' : hasBias('q') ? 'qkv' : 'none',
    positions: 'rotary',
    rotaryBase: metadata.float(key('rope.freq_base'), 10_000),
    rotaryScaling: linearScaling(metadata, key),
    norm: 'rms',
    normEpsilon: metadata.float(key('attention.layer_norm_rms_epsilon')),
    activation: 'swiglu',
    tied: !tensors.has('output.weight'),
    embeddingScale: isGranite ? metadata.float(key('embedding_scale'), 1) : 1,
    headScale: isGranite ? 1 / metadata.float(key('logit_scale'), 1) : 1,
    residualScale: isGranite ? metadata.float(key('residual_scale'), 1) : 1,
    attentionScale: isGranite ? metadata.float(key('attention.scale'), 1 / Math.sqrt(headWidth)) : null,
    moe:
      experts === 0
        ? null
        : {
            experts,
            k: metadata.count(key('expert_used_count')),
            hidden: shape('blk.0.ffn_up_exps.weight')?.[1] ?? metadata.count(key('feed_forward_length')),
            sharedHidden: shape('blk.0.ffn_up_shexp.weight')?.[0] ?? 0,
            sharedGate: tensors.has('blk.0.ffn_gate_inp_shexp.weight'),
            every: 1,
            from: 0,
            router: 'top-k',
            scores: 'softmax',
            softmax: 'before',
            renormalize,
            capacity: 'none',
            zLoss: 0,
          },
  }
}

/** The scaling of rotary positions in metadata: none, or by a factor. */
function linearScaling(metadata: Metadata, key: (rest: string) => string): Fields | null {
  const type = metadata.text(key('rope.scaling.type'), 'none')
  if (type === 'none') return null
  if (type !== 'linear') metadata.refuse(key('rope.scaling.type'), type, 'none and linear')
  return { kind: 'linear', factor: metadata.float(key('rope.scaling.factor')) }
}

/** Largest relative difference of divisors in float32. */
const TOLERANCE = 1e-5

/**
 * The scaling of Llama 3 that has these divisors of angles. Its largest divisor is its factor, and published models have
 * the factors 1 and 4 of low and high frequencies, so only the length of the original training is searched for.
 */
function scalingOf(path: string, model: ModelConfig, divisors: Float32Array): ModelConfig['rotaryScaling'] {
  if (divisors.length !== headWidthOf(model) / 2)
    throw new UsageError(`${path}: ${ROTARY_DIVISORS} has ${divisors.length} numbers (expected half of a head)`)
  const factor = divisors.reduce((largest, divisor) => Math.max(largest, divisor), 1)
  if (factor === 1) return model.rotaryScaling
  for (let original = 2; original <= 2 ** 24; original *= 2) {
    const rotaryScaling = { kind: 'llama3', factor, original, lowFactor: 1, highFactor: 4 } as const
    const found = rotaryDivisors({ ...model, rotaryScaling })
    if (found.every((divisor, i) => Math.abs(divisor / (divisors[i] as number) - 1) < TOLERANCE)) return rotaryScaling
  }
  throw new UsageError(
    `${path}: unsupported ${ROTARY_DIVISORS}: its divisors of angles are not those of Llama 3, with the factors 1 and 4 ` +
      'of low and high frequencies',
  )
}
