/** Rows of a table of quantized weights, which is stored as the matrix of a head: a row is a column of that matrix. */
import * as declared from '../../../../../core/graph/kernels/quantized.ts'
import { type Bits, BLOCK, groupBytes, groupRows, weightBytes } from '../../../../../core/graph/quantized-layout.ts'
import { RuntimeError } from '../../../../contract/runtime.ts'
import { implement, type KernelTensor, type KernelThread } from '../../contract.ts'
import { memoryOf } from '../reach.ts'
import { blockBytes } from './blocks.ts'

/** Reads columns of a matrix of 8 or 16 bits, in any memory. */
class ColumnReader {
  private readonly bits: 8 | 16
  private readonly inner: number
  private readonly first: number
  private readonly bytes: Int8Array
  private readonly halves: Uint16Array
  private readonly bfloat16 = new Float32Array(1)
  private readonly word = new Uint32Array(this.bfloat16.buffer)

  constructor(thread: KernelThread, w: KernelTensor, bits: Bits, inner: number) {
    if (bits === 4) throw new RuntimeError('internal: a table has weights of at least 8 bits')
    const { buffer } = memoryOf(thread, w).bytes
    this.bits = bits
    this.inner = inner
    this.first = w.offset
    this.bytes = new Int8Array(buffer)
    this.halves = new Uint16Array(buffer)
  }

  /** Writes a column to `to`, from element `start` on. */
  read(column: number, to: Float32Array, start: number): void {
    const { bits, inner, bytes } = this
    const c = column % BLOCK
    let group = this.first + Math.floor(column / BLOCK) * blockBytes(bits, inner)
    for (let row = 0; row < inner; row += groupRows(bits), group += groupBytes(bits)) {
      const rows = Math.min(groupRows(bits), inner - row)
      if (bits === 16) for (let i = 0; i < rows; i++) to[start + row + i] = this.half(group / 2 + i * BLOCK + c)
      else {
        const scale = this.half((group + weightBytes(bits)) / 2 + c)
        for (let i = 0; i < rows; i++)
          to[start + row + i] = scale * (bytes[group + (i >> 1) * 2 * BLOCK + 2 * c + (i & 1)] as number)
      }
    }
  }

  private half(at: number): number {
    this.word[0] = (this.halves[at] as number) << 16
    return this.bfloat16[0] as number
  }
}

/** Rows of a task. */
const ROWS = 64

export const quantizedRows = implement(declared.quantizedRows, {
  provider: 'WASM',
  anywhere: ['w'],
  prepare({ inputs: { w, index }, outputs: { rows }, attributes: { inner, bits } }, thread) {
    const count = rows.shape[0] as number
    const reader = new ColumnReader(thread, w, bits, inner)
    return {
      tasks: Math.ceil(count / ROWS),
      run(task) {
        for (let row = task * ROWS; row < Math.min(count, (task + 1) * ROWS); row++)
          reader.read(thread.integers[index.offset / 4 + row] as number, thread.floats, rows.offset / 4 + row * inner)
      },
    }
  },
  work: ({ outputs: { rows } }) => ({ flops: rows.size, bytes: 5 * rows.size }),
})
