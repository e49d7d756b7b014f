/**
 * The two sizes of the built-in studies: models, budgets and seeds.
 *
 * Models are small so that they see 20 or more tokens for each active parameter: below about ten, experts do not pay yet,
 * and a study cannot ask which experts pay more (docs/findings.md).
 *
 * Learning rates are proportional to 1/width. At width 32 (2.05 M tokens) 2e-2 was as good as 4e-2 for a dense model and
 * better than 1e-2 and 4e-2 for top-1; at width 128 (`demo`, 600 steps) 6e-3 was as good as any from 4.2e-3 to 8.5e-3; at
 * width 256 (`S`, 400 steps) 3e-3 and 6e-3 were the best from 1.5e-3 to 6e-3. In a study with a sweep, each arm finds its
 * own learning rate.
 */
import type { Settings, SpecificationInput } from '../specification.ts'

export const studySizes = ['quick', 'standard'] as const
export type StudySize = (typeof studySizes)[number]

export interface Size {
  readonly seeds: readonly number[]
  /** Settings of all arms: top-1 in every layer. */
  readonly set: Settings
  /** Hidden width of an expert. */
  readonly hidden: number
  /** Settings of each size by prefix of arm names, tokens in proportion to active parameters; `''` stands for `set`. */
  readonly scale: Readonly<Record<string, Settings>>
  readonly tune?: SpecificationInput['tune']
  /** Whether the study has all arms, or only the arms that the claims need. */
  readonly thorough: boolean
}

const common: Settings = {
  'model.moe.router': 'top-k',
  'model.moe.k': 1,
  'model.moe.prototypes': 1,
  'model.moe.capacity': 'none',
  'model.moe.factor': 1.25,
  'model.moe.experts': 8,
  'model.sequence': 64,
  'train.batch': 32,
}

/** A model with `heads` heads of width 16, experts of twice the width of the model, and its budget. */
const shape = (layers: number, heads: number, steps: number): Settings => ({
  'model.layers': layers,
  'model.width': 16 * heads,
  'model.heads': heads,
  'model.hidden': 32 * heads,
  'model.moe.hidden': 32 * heads,
  'train.steps': steps,
  'train.schedule.warmup': Math.round(steps / 15),
  'train.schedule.learningRate': Number((0.64 / (16 * heads)).toPrecision(2)),
})

export const sizes: Readonly<Record<StudySize, Size>> = {
  quick: {
    seeds: [1, 2, 3, 4],
    set: {
      ...common,
      ...shape(2, 2, 500),
      'model.vocabulary': 512,
      'train.evalEvery': 50,
      'train.evalBatches': 8,
    },
    hidden: 64,
    scale: { 'tiny, ': shape(2, 1, 205), '': {}, 'large, ': shape(2, 3, 880) },
    thorough: false,
  },
  standard: {
    seeds: [1, 2, 3, 4],
    set: {
      ...common,
      ...shape(2, 4, 3000),
      'model.vocabulary': 1024,
      'train.evalEvery': 250,
      'train.evalBatches': 16,
    },
    hidden: 128,
    scale: { 'tiny, ': shape(2, 1, 590), 'small, ': shape(2, 2, 1260), '': {}, 'large, ': shape(3, 6, 6400) },
    tune: { rates: [0.5, 1, 2], steps: 1 / 4, seeds: [0] },
    thorough: true,
  },
}
