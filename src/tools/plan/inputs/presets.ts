/**
 * Presets of the planner: the presets of `train`, published models (`models.ts`), and the models of M6-T (Yang et al.
 * 2021), whose shapes follow the paper's table. A sample has 16 image patches and 128 text tokens; a device has 8
 * samples.
 */
import type { z } from 'zod'
import { presets } from '../../../core/config/presets.ts'
import { deepseekLatent, type ModelName, models } from './models.ts'
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

/**
 * A run of M6-T as in the paper's program: experts in every layer, width 1024, float32, a fixed number of slots, data
 * and expert parallelism.
 */
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

/** Runs of published models. Batch, tokens and precision are as published, where they were published. */
const published: Readonly<Record<string, PlanPreset>> = {
  'mixtral-8x7b': {
    description: 'Mixtral 8x7B: 46.7 B parameters, 12.9 B active; 8 experts, top-2',
    config: run('mixtral-8x7b', 1024),
  },
  'mixtral-8x22b': {
    description: 'Mixtral 8x22B: 141 B parameters, 39 B active; 8 experts, top-2',
    config: run('mixtral-8x22b', 1024),
  },
  'olmoe-1b-7b': {
    description: 'OLMoE: 6.9 B parameters, 1.3 B active; 64 experts, top-8; 5.1 T tokens (Muennighoff et al. 2024)',
    config: run('olmoe-1b-7b', 1024, { tokens: 5.1e12 }),
  },
  'qwen3-30b-a3b': {
    description: 'Qwen3-30B-A3B: 30.5 B parameters, 3.3 B active; 128 experts, top-8',
    config: run('qwen3-30b-a3b', 1024),
  },
  'qwen3-235b-a22b': {
    description: 'Qwen3-235B-A22B: 235 B parameters, 22 B active; 128 experts, top-8',
    config: run('qwen3-235b-a22b', 4096),
  },
  'deepseek-v3': {
    description:
      'DeepSeek-V3: 671 B parameters, 37 B active; float8, 4 nodes a token, overlapped all-to-alls; 14.8 T tokens',
    config: run('deepseek-v3', 15_360, {
      precision: 'float8',
      state: 'bfloat16',
      latent: deepseekLatent,
      gates: 'hidden',
      dispatchPrecision: 'float8',
      dispatchTo: 'node',
      nodeLimit: 4,
      allToAllOverlap: 0.8,
      tokens: 14.8e12,
    }),
  },
  'gpt-oss-20b': {
    description: 'gpt-oss-20b: 20.9 B parameters, 3.6 B active; 32 experts, top-4, windows of 128 in every other layer',
    config: run('gpt-oss-20b', 1024),
  },
  'gpt-oss-120b': {
    description:
      'gpt-oss-120b: 117 B parameters, 5.1 B active; 128 experts, top-4, windows of 128 in every other layer',
    config: run('gpt-oss-120b', 1024),
  },
  'glam-64b-64e': {
    description: 'GLaM 64B/64E: 1.2 T parameters, 97 B active; 64 experts in every other layer, top-2; 280 B tokens',
    config: run('glam-64b-64e', 1024, { tokens: 2.8e11 }, 'adafactor'),
  },
  'switch-c': {
    description: 'Switch-C: 1.6 T parameters; 2,048 experts in every layer, top-1; encoder and decoder as one decoder',
    config: run('switch-c', 2048, {}, 'adafactor'),
  },
}

function run(
  model: ModelName,
  batch: number,
  plan: Planned['plan'] = {},
  kind: 'adamw' | 'adafactor' = 'adamw',
): Planned {
  return { model: models[model], train: { steps: 10_000, batch, optimizer: { kind } }, plan }
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
  ...published,
}

/**
 * The run of Lin et al. 2021 (M6-10T), with the expert capacity of top-1. Without clipping, the host applies each
 * gradient on arrival and never stores it.
 */
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
