/** The inputs of a program for a block of a prompt that say where it is: its positions, and the rows of earlier ones. */
import { input, type Tensor } from '../../../core/graph/tensor.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { type Past, pastInputs } from '../../../core/model/kv-cache.ts'
import { type Rotation, rotationOf, writeAngles } from '../../../core/model/rotary.ts'
import type { Buffer } from '../../../engine/contract/runtime.ts'

export class PastPorts {
  /** Inputs of a traced pass. */
  readonly inputs: { readonly past: Past; readonly firstVisible_T: Tensor }
  /** Memory of these inputs, but for the tables of keys and values. */
  readonly ports: Readonly<Record<string, Buffer>>
  private readonly rotation: Rotation | null
  private readonly past: Int32Array
  private readonly positions: Int32Array
  private readonly firstVisible: Int32Array
  private readonly cos: Float32Array
  private readonly sin: Float32Array

  /**
   * @param tokens Tokens of the program.
   * @param rows Rows of earlier positions.
   * @param cacheRows Rows of the tables in which they are.
   */
  constructor(config: ModelConfig, tokens: number, rows: number, cacheRows: number) {
    this.inputs = {
      past: pastInputs(config, tokens, rows, cacheRows),
      firstVisible_T: input('firstVisible', 'int32', [tokens]),
    }
    this.rotation = config.positions === 'rotary' ? rotationOf(config) : null
    this.past = new Int32Array(rows)
    this.positions = new Int32Array(tokens)
    this.firstVisible = new Int32Array(tokens)
    const angles = tokens * (this.rotation?.frequencies.length ?? 0)
    this.cos = new Float32Array(angles)
    this.sin = new Float32Array(angles)
    const { past, positions, firstVisible, cos, sin } = this
    this.ports = {
      ...{ past, firstVisible },
      ...(config.positions === 'learned' && { position: positions }),
      ...(this.rotation && { cos, sin }),
    }
  }

  /**
   * Sets the position of the block's first token, which has at most as many earlier positions as there are rows.
   * @param rowOf The row of a position in the tables.
   */
  set(from: number, rowOf: (position: number) => number): void {
    const { rotation, past, positions, firstVisible, cos, sin } = this
    const hidden = past.length - from
    // A hidden row must be finite, because it is multiplied by 0: position 0 is, as every row that was computed.
    for (let row = 0; row < past.length; row++) past[row] = rowOf(Math.max(0, row - hidden))
    firstVisible.fill(hidden)
    for (let t = 0; t < positions.length; t++) {
      positions[t] = from + t
      if (!rotation) continue
      const half = rotation.frequencies.length
      const [start, end] = [t * half, (t + 1) * half]
      writeAngles(rotation, from + t, { cos: cos.subarray(start, end), sin: sin.subarray(start, end) })
    }
  }
}
