/**
 * Presets of the planner: those of `train`, and the models of M6-T (Yang et al. 2021). Shapes follow the paper's
 * table; a sample has 16 image patches and 128 text tokens, a device 8 samples.
 */
import type { z } from 'zod'
import { presets } from '../../config/presets.ts'
import type { plannedRunSchema } from './settings.ts'

type Planned = z.input<typeof plannedRunSchema>

interface PlanPreset {
  readonly description: string
  readonly config: Planned
}

interface Size {
  readonly layers: number
  readonly experts: number
  readonly hidden: number
  readonly devices: number
  readonly optimizer: 'adamw' | 'adafactor'
}

/** As in the paper's program: experts in every layer, width 1024, float32, a fixed number of slots, data and expert parallelism. */
function m6t({ layers, experts, hidden, devices, optimizer }: Size): Planned {
  return {
    model: {
      vocabulary: 21128,
      tied: true,
      layers,
      width: 1024,
      heads: 16,
      sequence: 144,
      hidden: 4096,
      moe: { experts, hidden, router: 'top-k', k: 1, capacity: 'kx', factor: 1.25, compute: 'padded' },
    },
    train: { steps: 10_000, batch: 8 * devices, optimizer: { kind: optimizer } },
    parallel: { expert: devices, reproducible: false },
    plan: {
      precision: 'float32',
      attention: 'materialized',
      dispatch: 'one-hot',
      dropout: true,
      zero: 0,
      parallel: { tensor: 1, pipeline: 1 },
    },
  }
}

export const planPresets: Readonly<Record<string, PlanPreset>> = {
  ...presets,
  'm6t-base': {
    description: 'M6-T base: 1.4 B parameters, 32 experts in 5 layers',
    config: m6t({ layers: 5, experts: 32, hidden: 4096, devices: 8, optimizer: 'adamw' }),
  },
  'm6t-10b': {
    description: 'M6-T 10B: 128 experts in 10 layers',
    config: m6t({ layers: 10, experts: 128, hidden: 4096, devices: 16, optimizer: 'adamw' }),
  },
  'm6t-100b': {
    description: 'M6-T 100B: 512 experts in 24 layers',
    config: m6t({ layers: 24, experts: 512, hidden: 4096, devices: 128, optimizer: 'adamw' }),
  },
  'm6t-1t': {
    description: 'M6-T 1T: a trillion parameters, 960 experts in 24 layers, for 480 V100',
    config: m6t({ layers: 24, experts: 960, hidden: 21_248, devices: 480, optimizer: 'adafactor' }),
  },
  'm6-10t': {
    description: 'M6-10T: 10,240 experts in 48 layers, 80 prototypes, for 512 V100; weights are kept in host memory',
    config: m6t10(),
  },
}

/** Lin et al. 2021 (M6-10T), with the expert capacity of top-1. Without clipping, the host applies each gradient on arrival and never stores it. */
function m6t10(): Planned {
  const { model, train, parallel, plan } = m6t({
    layers: 48,
    experts: 10_240,
    hidden: 9984,
    devices: 512,
    optimizer: 'adafactor',
  })
  return {
    model: { ...model, moe: { ...model?.moe, router: 'prototype', prototypes: 80, capacity: '1x' } },
    train: { ...train, optimizer: { ...train?.optimizer, clip: 0 } },
    parallel,
    plan: { ...plan, offload: null },
  }
}
