/**
 * Sparse upcycling (Komatsuzaki et al. 2022, arXiv 2212.05055): every expert begins as a copy of the dense network of
 * its layer, and routers begin at random. The gates of a token are divided by their sum, so that they sum to 1: then
 * equal experts compute the same as the dense network, and the loss goes on from the same value. The study
 * arXiv 2410.07524 finds that after much training, gates by the softmax over all experts do better; they begin with a
 * higher loss.
 */
import { z } from 'zod'
import { parseInput } from '../../../core/config/problems.ts'
import { option, UsageError, wording } from '../../../core/errors.ts'
import { type ModelConfig, modelSchema } from '../../../core/model/config.ts'
import { randomFor } from '../../../core/random.ts'
import type { OurTensor } from '../../foreign/architectures/ours.ts'

export interface Upcycling {
  readonly experts: number
  /** Experts of a token, at least 2: the gate of a single expert would always be 1, and its router would not learn. */
  readonly k: number
  /** Which layers get experts, as `moe.every` and `moe.from`; default: all layers. */
  readonly every?: number
  readonly from?: number
  /** Standard deviation of noise on the experts' weights, as a share of their root mean square; default 0. */
  readonly noise?: number
}

/**
 * The configuration of the upcycled model, without capacity.
 * @throws UsageError if the model is not dense, or the settings have no meaning
 */
export function upcycledModel(dense: ModelConfig, { experts, k, every = 1, from = 0 }: Upcycling): ModelConfig {
  if (dense.moe)
    throw new UsageError(wording`invalid ${option('upcycle')}: the model has experts already (expected a dense model)`)
  if (k < 2)
    throw new UsageError(
      wording`invalid ${option('upcycle')}: k=${k} (expected at least 2: gates are divided by their sum, so the gate of one expert would ${'always be 1, and its router would not learn)'}`,
    )
  const moe = { experts, k, every, from, hidden: dense.hidden, renormalize: true, capacity: 'none' as const }
  return parseInput(z.object({ model: modelSchema }), { model: { ...dense, moe } }, 'upcycled model').model
}

/** The tensor of the dense model of which a tensor of the upcycled model begins as a copy; null for routers. */
export function denseNameOf(name: string): string | null {
  if (name.endsWith('.moe.router')) return null
  return name.replace(/\.moe\.(experts\.\d+\.)?/, '.ffn.')
}

/** The initial weights of a router [D, N], as in a new model: a truncated normal of deviation `scale`/√D. */
export function newRouter({ name, shape }: OurTensor, seed: number, scale: number): Float32Array {
  const [rows = 1, columns = 1] = shape
  const values = new Float32Array(rows * columns)
  randomFor(seed, 'init', name).truncatedNormal(values, scale / Math.sqrt(rows))
  return values
}

/** Adds noise to the weights of an expert, in place. */
export function addNoise(values: Float32Array, name: string, seed: number, noise: number): void {
  let sum = 0
  for (const value of values) sum += value * value
  const drawn = new Float32Array(values.length)
  randomFor(seed, 'upcycle', name).truncatedNormal(drawn, noise * Math.sqrt(sum / values.length))
  for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) + (drawn[i] as number)
}
