/** The global gradient norm: the root of the sum of squares of every gradient. */
import { input, square, sum } from '../../graph/index.ts'
import type { NodeTime, Runtime } from '../../runtime/index.ts'
import { CHUNK, type ParameterStore } from '../store.ts'
import { ChunkedProgram } from './chunked.ts'

export class GradientNorm {
  private readonly program: ChunkedProgram
  private readonly squares: Float32Array

  private constructor(program: ChunkedProgram, squares: Float32Array) {
    this.program = program
    this.squares = squares
  }

  static async compile(runtime: Runtime, store: ParameterStore): Promise<GradientNorm> {
    const chunks = store.chunks()
    const squares = new Float32Array(chunks.length)
    const buffers = chunks.map(({ regions }, i) => ({
      gradient: regions[1] as Float32Array,
      squares: squares.subarray(i, i + 1),
    }))
    const outputs = { squares: sum(square(input('gradient', 'float32', [CHUNK]))) }
    return new GradientNorm(await ChunkedProgram.compile(runtime, outputs, buffers), squares)
  }

  /** Not finite exactly when some gradient is not, or when the norm exceeds about 1e19. */
  async compute(): Promise<number> {
    await this.program.run()
    return Math.sqrt(this.squares.reduce((total, value) => total + value, 0))
  }

  profile(): readonly NodeTime[] {
    return this.program.profile()
  }

  release(): void {
    this.program.release()
  }
}
