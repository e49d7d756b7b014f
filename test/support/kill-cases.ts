/** Trainings that are killed and continued, with every kind of state that a checkpoint holds. */
import type { RunInput } from '../../src/core/config/run-config.ts'

export const killCases: Record<string, RunInput> = {
  'top-k, AdamW': { model: { moe: { k: 2 } } },
  'top-k, moments in int8': { train: { optimizer: { state: 'int8' } } },
  'top-k, Adafactor': { train: { optimizer: { kind: 'adafactor' } } },
  'prototype, AdamW, two micro-batches': {
    model: { moe: { router: 'prototype', prototypes: 2 } },
    train: { microBatches: 2 },
  },
  'prototype, Adafactor': {
    model: { moe: { router: 'prototype', prototypes: 2, capacity: '1x' } },
    train: { optimizer: { kind: 'adafactor' } },
  },
  'random, AdamW': { model: { moe: { router: 'random', k: 2 } } },
  'random, Adafactor': { model: { moe: { router: 'random' } }, train: { optimizer: { kind: 'adafactor' } } },
}
