/** The choices of a visitor, and the configuration of a run that follows from them. */
import type { RunInput } from '../../../src/faces/library/web.ts'

/** Routers to choose from: values of `model.moe.router`, and `dense` for a model without experts. */
export const routers = {
  'top-k': { name: 'top-k', hint: 'Each token takes its k best experts.' },
  prototype: { name: 'prototypes', hint: 'Experts in Z groups; each token takes its k best of every group.' },
  bias: { name: 'top-k with biases', hint: 'Biases on the scores even out the loads, without a loss.' },
  sinkhorn: { name: 'Sinkhorn', hint: 'In training, tokens share the experts evenly.' },
  'expert-choice': { name: 'expert choice', hint: 'Each expert takes its best tokens; it sees later tokens.' },
  hash: { name: 'hash', hint: 'The experts of a token follow from its id; nothing is learned.' },
  random: { name: 'random', hint: 'Any experts, drawn again in each step.' },
  dense: { name: 'none (dense)', hint: 'One feed-forward network for all tokens.' },
} as const

export type RouterName = keyof typeof routers

export interface Setting {
  readonly router: RouterName
  /** Number of experts per token; with prototypes, per token in each prototype. */
  readonly k: number
  readonly prototypes: number
  readonly capacity: 'kx' | '1x' | 'none'
  /** Capacity factor. */
  readonly factor: number
  /** Coefficient of the balancing loss. */
  readonly balance: number
}

/** Settings that both sides share. */
export interface Shared {
  readonly size: SizeName
  readonly experts: number
  readonly steps: number
  readonly seed: number
}

export const defaultSetting: Setting = {
  router: 'top-k',
  k: 1,
  prototypes: 2,
  capacity: 'kx',
  factor: 1.25,
  balance: 0.01,
}

/** The setting of side B, which is compared with {@link defaultSetting}. */
export const defaultSecond: Setting = { ...defaultSetting, router: 'prototype' }

export const defaultShared: Shared = { size: 'tiny', experts: 8, steps: 600, seed: 0 }

/**
 * Sizes of models. After 600 steps on the speeches with top-1, the learning rate of `tiny` had the lowest held-out loss
 * of 3e-3, 6e-3, 1e-2 and 2e-2, and the learning rate of `small` of 6e-3, 1e-2 and 2e-2. The learning rate of `large`
 * is that of the preset demo.
 */
export const sizes = {
  tiny: {
    hint: '2 layers of width 32: seconds to minutes',
    model: { vocabulary: 512, layers: 2, width: 32, heads: 2, sequence: 32, hidden: 64 },
    learningRate: 2e-2,
  },
  small: {
    hint: '2 layers of width 64: minutes',
    model: { vocabulary: 1024, layers: 2, width: 64, heads: 4, sequence: 64, hidden: 128 },
    learningRate: 1e-2,
  },
  large: {
    hint: '4 layers of width 128, as the preset demo: for a GPU',
    model: { vocabulary: 2048, layers: 4, width: 128, heads: 4, sequence: 128, hidden: 256 },
    learningRate: 6e-3,
  },
} as const

export type SizeName = keyof typeof sizes

/** These functions return whether a setting has an effect with the chosen router. */
export const usesK = ({ router }: Setting): boolean => router !== 'dense'
export const usesPrototypes = ({ router }: Setting): boolean => router === 'prototype'
export const usesCapacity = ({ router }: Setting): boolean => router !== 'dense'
export const usesBalance = ({ router }: Setting): boolean =>
  !['dense', 'hash', 'random', 'expert-choice'].includes(router)

/** The setting with values that its router accepts. */
export function fitting(setting: Setting, experts: number): Setting {
  const prototypes = Math.min(setting.prototypes, experts)
  const group = setting.router === 'prototype' ? experts / prototypes : experts
  const capacity = setting.router === 'expert-choice' && setting.capacity === 'none' ? 'kx' : setting.capacity
  return { ...setting, prototypes, capacity, k: Math.min(setting.k, group) }
}

export function configOf(setting: Setting, { size, experts, steps, seed }: Shared): RunInput {
  const { model, learningRate } = sizes[size]
  const { router, k, prototypes, capacity, factor, balance } = setting
  const moe =
    router === 'dense'
      ? null
      : {
          experts,
          hidden: model.hidden,
          router,
          k,
          ...(usesPrototypes(setting) && { prototypes }),
          capacity,
          ...(capacity !== 'none' && { factor }),
          balance: { coefficient: usesBalance(setting) ? balance : 0 },
        }
  return {
    model: { ...model, moe },
    train: {
      steps,
      seed,
      batch: 16,
      evalEvery: 50,
      evalBatches: 4,
      checkpointEvery: 50,
      routingEvery: 5,
      schedule: { learningRate, warmup: Math.min(30, Math.ceil(steps / 10)) },
    },
  }
}

/** Describes a setting in one line, such as `2 top-1, capacity kx × 1.25, balancing 0.01`. */
export function describe(setting: Setting): string {
  const { router, k, prototypes, capacity, factor, balance } = setting
  if (router === 'dense') return 'dense'
  const chosen = {
    'top-k': `top-${k}`,
    prototype: `${prototypes} top-${k}`,
    bias: `top-${k} with biases`,
    sinkhorn: `Sinkhorn top-${k}`,
    'expert-choice': `expert choice, k ${k}`,
    hash: k === 1 ? 'hash' : `hash, k ${k}`,
    random: k === 1 ? 'random' : `random, k ${k}`,
  }[router]
  const limit = capacity === 'none' ? 'no capacity limit' : `capacity ${capacity} × ${factor}`
  return [chosen, limit, ...(usesBalance(setting) ? [`balancing ${balance}`] : [])].join(', ')
}

/** Values that the controls offer; of steps and seeds, the least and the largest. */
export const offered = {
  k: [1, 2, 4],
  prototypes: [1, 2, 4],
  capacity: ['kx', '1x', 'none'],
  factor: [0.25, 0.5, 1, 1.25, 2, 4],
  balance: [0, 0.001, 0.01, 0.1, 1],
  experts: [4, 8, 16, 32],
  steps: [1, 100_000],
  seed: [0, 1_000_000],
} as const
