/** Targets of a GPU, for bench/targets.ts. They are set for a large card, such as an H100. */
import { fixed, percent } from '../../../src/core/text/numbers.ts'
import type { Figure, Target } from '../../support/target.ts'
import { rowsOf } from './report.ts'
import { type GpuRow, isMissing, type MatmulRow, type TrainingRow } from './rows.ts'

const times = (value: number): string => `${fixed(value, 2)} ×`

/** @param cards The rows of each card that was measured. */
export function gpuTargets(cards: readonly (readonly GpuRow[])[]): Target[] {
  /** A figure for each card whose rows contain it. */
  const figures = (figureOf: (rows: readonly GpuRow[]) => number | undefined): Figure[] =>
    cards.flatMap((rows) => {
      const value = figureOf(rows)
      return value === undefined ? [] : [{ value, routing: rows[0]?.adapter.name ?? '' }]
    })
  const about = { bound: 'min', expected: Math.max(1, cards.length), unmeasured: 'no GPU measured' } as const
  return [
    {
      ...about,
      name: "GPU, float32: best product over PyTorch's",
      shape: '',
      required: 0.6,
      aim: 0.6,
      figures: figures(productRatio),
      show: (value) => percent(value, 0),
      command: 'npx tsx bench/training/gpu.ts --only matmul',
    },
    {
      ...about,
      name: 'GPU, float32: speed over two CPU threads',
      shape: 'S',
      required: 20,
      aim: 20,
      figures: figures((rows) => {
        const cpu = training(rows, 'S', 'float32')?.cpu
        return cpu && !isMissing(cpu) && cpu.threads === 2 ? cpu.speedRatio : undefined
      }),
      show: times,
      command: 'npx tsx bench/training/gpu.ts --only training --shape S',
    },
    {
      ...about,
      name: 'GPU, f16: speed over PyTorch eager fp32',
      shape: 'L',
      required: 0.5,
      aim: 0.5,
      figures: figures((rows) => {
        const eager = training(rows, 'L', 'f16')?.pytorch.eager
        return eager && !isMissing(eager) ? eager.speedRatio : undefined
      }),
      show: times,
      command: 'npx tsx bench/training/gpu.ts --only training --shape L --math f16',
    },
  ]
}

/** The best float32 rate divided by PyTorch's best. With TF32 off, PyTorch computes on the same kind of cores. */
function productRatio(rows: readonly GpuRow[]): number | undefined {
  const products = rowsOf<MatmulRow>(rows, 'matmul').filter(({ math }) => math === 'float32')
  const theirs = products.flatMap(({ pytorch }) => (isMissing(pytorch) ? [] : [pytorch.gflops]))
  return theirs.length === 0 ? undefined : Math.max(...products.map(({ gflops }) => gflops)) / Math.max(...theirs)
}

const training = (rows: readonly GpuRow[], shape: string, precision: string): TrainingRow | undefined =>
  rowsOf<TrainingRow>(rows, 'training').find(({ name, math }) => name === shape && math === precision)
