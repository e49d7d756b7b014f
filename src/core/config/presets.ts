/**
 * Named configurations. A preset lists only what differs from the schema's defaults; `loadConfig` fills in the rest.
 *
 * Learning rates fall as 1/width. Measured: demo (600 steps) 4.2e-3 to 8.5e-3, S (400 steps) 1.5e-3 to 6e-3; see
 * docs/configuration.md. The rates of M and base follow from the rule and were not measured.
 *
 * base ties its embedding table to the output head, as M6-T's parameter count implies.
 */
import type { RunInput } from './run-config.ts'

export interface Preset {
  /** One line for help texts. */
  readonly description: string
  readonly config: RunInput
}

export const presets = {
  tiny: {
    description: 'seconds on any machine; for trying things out and for tests',
    config: {
      model: {
        vocabulary: 512,
        layers: 2,
        width: 32,
        heads: 2,
        sequence: 32,
        hidden: 64,
        moe: { experts: 4, hidden: 64, router: 'top-k', k: 1 },
      },
      train: {
        steps: 20,
        batch: 4,
        evalEvery: 10,
        evalBatches: 2,
        checkpointEvery: 10,
        routingEvery: 5,
        schedule: { learningRate: 3e-3, warmup: 5 },
      },
    },
  },
  demo: {
    description: 'two prototypes of four experts; one to three minutes on two cores',
    config: {
      model: {
        vocabulary: 2048,
        layers: 4,
        width: 128,
        heads: 4,
        sequence: 128,
        hidden: 256,
        moe: { experts: 8, hidden: 256, router: 'prototype', prototypes: 2, k: 1 },
      },
      train: {
        steps: 2400,
        batch: 8,
        evalEvery: 400,
        evalBatches: 32,
        checkpointEvery: 800,
        routingEvery: 20,
        schedule: { kind: 'cosine', learningRate: 6e-3, warmup: 120 },
      },
    },
  },
  S: {
    description: 'the small benchmark shape: 16 experts of 1024 in 4 layers, top-1',
    config: {
      model: {
        vocabulary: 4096,
        layers: 4,
        width: 256,
        heads: 4,
        sequence: 256,
        hidden: 1024,
        moe: { experts: 16, hidden: 1024, router: 'top-k', k: 1, capacity: 'kx', factor: 1.25 },
      },
      train: { steps: 2000, batch: 16, schedule: { learningRate: 3e-3, warmup: 200 } },
    },
  },
  M: {
    description: 'the medium benchmark shape: 32 experts of 2048 in 6 layers, top-1',
    config: {
      model: {
        vocabulary: 8192,
        layers: 6,
        width: 512,
        heads: 8,
        sequence: 256,
        hidden: 2048,
        moe: { experts: 32, hidden: 2048, router: 'top-k', k: 1, capacity: 'kx', factor: 1.25 },
      },
      train: { steps: 5000, batch: 16, schedule: { learningRate: 1.5e-3, warmup: 500 } },
    },
  },
  base: {
    description: 'the 1.4 B parameters of M6-T base: 32 experts of 4096 in 5 layers; to inspect and plan',
    config: {
      model: {
        vocabulary: 21128,
        tied: true,
        layers: 5,
        width: 1024,
        heads: 16,
        sequence: 144,
        hidden: 4096,
        moe: { experts: 32, hidden: 4096, router: 'top-k', k: 1, capacity: 'kx', factor: 1.25 },
      },
      train: { steps: 10000, batch: 8, schedule: { learningRate: 7.5e-4, warmup: 1000 } },
    },
  },
} as const satisfies Record<string, Preset>

export type PresetName = keyof typeof presets

export const presetNames = Object.keys(presets) as readonly PresetName[]

export function isPreset(name: string): name is PresetName {
  return Object.hasOwn(presets, name)
}

/** Settings of `model.moe` that benchmarks compare on one shape. The priority is `choice`, as in the peer programs. */
export const benchmarkRoutings = {
  'top-1': { router: 'top-k', k: 1, capacity: 'kx', priority: 'choice' },
  'top-2 kx': { router: 'top-k', k: 2, capacity: 'kx', priority: 'choice' },
  '2 top-1 kx': { router: 'prototype', prototypes: 2, capacity: 'kx', priority: 'choice' },
  '2 top-1 1x': { router: 'prototype', prototypes: 2, capacity: '1x', priority: 'choice' },
  '4 top-1 1x': { router: 'prototype', prototypes: 4, capacity: '1x', priority: 'choice' },
  dropless: { router: 'top-k', k: 1, capacity: 'none' },
} as const

export type BenchmarkRouting = keyof typeof benchmarkRoutings

/** `--set` assignments for a routing; the embedding table is tied, as in the peer programs. */
export const routingSets = (routing: BenchmarkRouting): string[] => [
  'model.tied=true',
  ...Object.entries(benchmarkRoutings[routing]).map(([field, value]) => `model.moe.${field}=${value}`),
]
