/** Rows packed by expert, for tests: uneven experts, empty experts, and unused rows that are NaN. */
import { type Exact, expectExact, type Floats, type Matrix, matrixOf, randomTensor } from './exact.ts'
import type { TestTensor } from './run-kernel.ts'

/**
 * Numbers of rows of each expert, then of unused rows. All layouts have equally many experts, so that they share
 * pipelines.
 */
export const LAYOUTS: readonly (readonly number[])[] = [
  [5, 0, 40, 33, 0, 9],
  [0, 32, 0, 0, 0, 0],
  [0, 0, 0, 0, 1, 0],
  [0, 0, 0, 0, 0, 7],
]

export class PackedRows {
  /** Number of all rows. */
  readonly count: number
  readonly experts: number
  readonly sizes: TestTensor
  private readonly starts: readonly number[]

  constructor(sizes: readonly number[]) {
    this.starts = [0, ...sizes].map((_, i) => sizes.slice(0, i).reduce((sum, size) => sum + size, 0))
    this.count = this.starts.at(-1) as number
    this.experts = sizes.length - 1
    this.sizes = { dtype: 'int64', shape: [sizes.length], data: sizes }
  }

  /** Random rows. Unused rows are NaN, and must not reach any result. */
  random(width: number, seed: number): Floats {
    const tensor = randomTensor([this.count, width], seed)
    tensor.data.fill(Number.NaN, (this.starts[this.experts] as number) * width)
    return tensor
  }

  /** The rows of each expert. */
  split(tensor: Floats, width: number): Matrix[] {
    return Array.from({ length: this.experts }, (_, e) =>
      matrixOf(tensor, width, this.starts[e] as number, this.starts[e + 1] as number),
    )
  }

  /** Compares the rows of experts; unused rows may hold anything. */
  expect(results: ArrayLike<number>, width: number, ofExperts: readonly Matrix[], tolerance = 0): void {
    const used: Exact[] = ofExperts.flat(2)
    expectExact(results, [...used, ...new Array<null>(this.count * width - used.length).fill(null)], tolerance)
  }
}

/** The matrices of experts [N, rows, columns]. */
export const matricesOf = (tensor: Floats): Matrix[] => {
  const [experts = 0, rows = 0, columns = 0] = tensor.shape
  return Array.from({ length: experts }, (_, e) => matrixOf(tensor, columns, e * rows, (e + 1) * rows))
}
