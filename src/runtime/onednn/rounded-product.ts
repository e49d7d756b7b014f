/**
 * A product whose factors are rounded to bfloat16 first, for CPUs that multiply bfloat16 where oneDNN
 * does not round float32 by itself. Factors are rounded block by block into a little memory of the
 * thread's own, and multiplied while they are in the cache: a pass over the factors costs a twentieth of
 * what the product saves.
 */
import { addressOf } from '../ffi.ts'
import type { Dnnl, MatrixLayout, Product } from './dnnl.ts'
import type { Runnable } from './primitive.ts'

/** Elements of a block of a and of b, unless a single row or column has more. */
const BLOCK_A = 2 ** 20
const BLOCK_B = 2 ** 22

/** Memory of one thread for rounded factors; it grows to the largest blocks that were asked for. */
export class FactorMemory {
  private readonly blocks: { a?: Uint16Array; b?: Uint16Array } = {}

  /** The address of a block of at least so many elements. */
  place(factor: 'a' | 'b', elements: number): number {
    let block = this.blocks[factor]
    if (!block || block.length < elements) {
      block = new Uint16Array(elements)
      this.blocks[factor] = block
    }
    return Number(addressOf(block))
  }
}

interface Block {
  /** Bytes from the beginning of the factor to that of the block. */
  readonly skip: number
  readonly length: number
  readonly elements: number
  readonly round: () => Runnable
  /** How it lies when it is rounded. */
  readonly layout: MatrixLayout
}

export class RoundedProduct implements Runnable {
  used = 0
  private readonly dnnl: Dnnl
  private readonly spec: Product
  private readonly memory: FactorMemory
  private readonly rows: readonly Block[]
  private readonly columns: readonly Block[]

  constructor(dnnl: Dnnl, spec: Product, memory: FactorMemory) {
    const { m, k, n, a, b } = spec
    this.dnnl = dnnl
    this.spec = spec
    this.memory = memory
    this.rows = this.cut(m, k, a.stride, a.transposed ?? false, BLOCK_A, a.transposed ?? false)
    this.columns = this.cut(n, k, b.stride, b.transposed ?? false, BLOCK_B, !b.transposed)
  }

  /** Near-equal parts of a side. `across`: they are columns of the matrix as it lies in memory. */
  private cut(side: number, k: number, stride: number, transposed: boolean, most: number, across: boolean): Block[] {
    // At least two rows or columns each: oneDNN misreads single ones.
    const parts = Math.max(1, Math.min(side >> 1, Math.ceil((side * k) / most)))
    return Array.from({ length: parts }, (_, part) => {
      const from = Math.floor((side * part) / parts)
      const length = Math.floor((side * (part + 1)) / parts) - from
      const [rows, columns] = across ? [k, length] : [length, k]
      return {
        skip: 4 * from * (across ? 1 : stride),
        length,
        elements: length * k,
        round: () => this.dnnl.round(rows, columns, stride),
        layout: { stride: columns, transposed },
      }
    })
  }

  run(a: number, b: number, c: number, addend = 0): void {
    const { k, alpha = 1, plus } = this.spec
    let column = 0
    for (const right of this.columns) {
      const rightAt = this.memory.place('b', right.elements)
      right.round().run(b + right.skip, rightAt)
      let row = 0
      for (const left of this.rows) {
        const leftAt = this.memory.place('a', left.elements)
        left.round().run(a + left.skip, leftAt)
        const product = this.dnnl.productOfPrepared({
          m: left.length,
          k,
          n: right.length,
          a: left.layout,
          b: right.layout,
          c: this.spec.c,
          alpha,
          ...(plus !== undefined && { plus }),
        })
        const target = c + 4 * (row * this.spec.c + column)
        if (typeof plus === 'number') product.run(leftAt, rightAt, target, addend + 4 * (row * plus + column))
        else product.run(leftAt, rightAt, target)
        row += left.length
      }
      column += right.length
    }
  }

  destroy(): void {}
}
