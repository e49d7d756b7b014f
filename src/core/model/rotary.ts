/** Rotary positions (Su et al. 2021): the angles of a position, and how they reach beyond the trained length. */
import { headWidthOf, type ModelConfig } from './config.ts'

/** Pair i of a head is rotated by position · frequencies[i]; cos and sin are multiplied by `scale`. */
export interface Rotation {
  /** [d/2] */
  readonly frequencies: readonly number[]
  readonly scale: number
}

type Scaling = NonNullable<ModelConfig['rotaryScaling']>

/** Frequencies base^(−2i/d), changed by `rotaryScaling` as in Hugging Face's `modeling_rope_utils.py`. */
export function rotationOf(
  config: Pick<ModelConfig, 'width' | 'heads' | 'headWidth' | 'rotaryBase' | 'rotaryScaling'>,
): Rotation {
  const { rotaryBase, rotaryScaling } = config
  const size = headWidthOf(config)
  const frequencies = Array.from({ length: Math.floor(size / 2) }, (_, i) => rotaryBase ** ((-2 * i) / size))
  if (!rotaryScaling) return { frequencies, scale: 1 }
  return {
    frequencies: frequencies.map((frequency, i) => scaledFrequency(rotaryScaling, frequency, i, size, rotaryBase)),
    scale:
      rotaryScaling.kind === 'yarn' ? (rotaryScaling.attentionFactor ?? 0.1 * Math.log(rotaryScaling.factor) + 1) : 1,
  }
}

/** Writes cos and sin [d/2] of the angles of a position, times the rotation's scale. */
export function writeAngles(
  { frequencies, scale }: Rotation,
  position: number,
  { cos, sin }: { readonly cos: Float32Array; readonly sin: Float32Array },
): void {
  for (const [i, frequency] of frequencies.entries()) {
    cos[i] = scale * Math.cos(position * frequency)
    sin[i] = scale * Math.sin(position * frequency)
  }
}

function scaledFrequency(scaling: Scaling, frequency: number, i: number, size: number, base: number): number {
  const slowed = frequency / scaling.factor
  if (scaling.kind === 'linear') return slowed
  /** Share of the unscaled frequency that is kept. */
  const kept = scaling.kind === 'yarn' ? 1 - ramp(yarnEnds(scaling, size, base), i) : keptByLlama3(scaling, frequency)
  return kept * frequency + (1 - kept) * slowed
}

/** A ramp that rises from 0 at `low` to 1 at `high`. */
const ramp = ([low, high]: readonly [low: number, high: number], at: number): number =>
  Math.min(1, Math.max(0, (at - low) / (high === low ? 0.001 : high - low)))

/**
 * The pairs that turn `betaFast` and `betaSlow` times in `original` positions (Peng et al. 2023, YaRN, section 3.2).
 */
function yarnEnds(
  { original, betaFast, betaSlow, truncate }: Extract<Scaling, { kind: 'yarn' }>,
  size: number,
  base: number,
): readonly [low: number, high: number] {
  const pairOf = (turns: number) => (size * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(base))
  const [low, high] = [pairOf(betaFast), pairOf(betaSlow)]
  return truncate
    ? [Math.max(0, Math.floor(low)), Math.min(size - 1, Math.ceil(high))]
    : [Math.max(0, low), Math.min(size - 1, high)]
}

/**
 * The share of its frequency that a pair keeps: all if it turns `highFactor` times or more in `original` positions,
 * nothing if it turns `lowFactor` times or less, and a linear share between.
 */
function keptByLlama3(
  { original, lowFactor, highFactor }: Extract<Scaling, { kind: 'llama3' }>,
  frequency: number,
): number {
  const turns = (original * frequency) / (2 * Math.PI)
  return Math.min(1, Math.max(0, (turns - lowFactor) / (highFactor - lowFactor)))
}
