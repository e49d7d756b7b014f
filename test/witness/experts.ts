/**
 * Feed-forward networks: one for a dense layer, N for a sparse one. An expert is an ordinary two-layer
 * network without biases; the mixture is, for every token, the sum of gate times result over its kept experts.
 */
import type { ModelConfig } from '../../src/core/model/config.ts'
import { add, at, gelu, type Matrix, project, rowOf, sigmoid, silu, type Vector } from './arithmetic.ts'
import { matricesOf, matrixOf, type Parameters } from './parameters.ts'
import type { Assignment } from './routing.ts'

/**
 * Matrices of a network: `up` [D, F], `down` [F, D]. With a `gate` [D, F] it is SwiGLU (Shazeer, GLU variants, eq. 6),
 * without one it has GELU.
 */
export interface FeedForward {
  readonly up: Matrix
  readonly gate: Matrix | null
  readonly down: Matrix
}

export function feedForward(x: Vector, { up, gate, down }: FeedForward): number[] {
  const linear = project(x, up)
  const hidden = gate ? project(x, gate).map((value, f) => silu(value) * at(linear, f)) : linear.map(gelu)
  return project(hidden, down)
}

/** The network of a dense layer or of the shared expert. */
export function readFeedForward(parameters: Parameters, prefix: string, config: ModelConfig): FeedForward {
  return {
    up: matrixOf(parameters, `${prefix}.up`),
    gate: config.activation === 'swiglu' ? matrixOf(parameters, `${prefix}.gate`) : null,
    down: matrixOf(parameters, `${prefix}.down`),
  }
}

/** The N networks of a sparse layer. */
export function readExperts(parameters: Parameters, prefix: string, config: ModelConfig): FeedForward[] {
  const up = matricesOf(parameters, `${prefix}.up`)
  const gate = config.activation === 'swiglu' ? matricesOf(parameters, `${prefix}.gate`) : null
  const down = matricesOf(parameters, `${prefix}.down`)
  return up.map((matrix, n) => ({ up: matrix, gate: gate && rowOf(gate, n), down: rowOf(down, n) }))
}

/** y_t = Σ gate · x_t·W over the kept assignments of t: the experts of a projection. */
export function projectByExperts(
  x_TD: Matrix,
  assignments: readonly Assignment[],
  experts: readonly Matrix[],
): number[][] {
  const columns = rowOf(rowOf(experts, 0), 0).length
  return x_TD.map((x, token) => {
    let y = Array.from({ length: columns }, () => 0)
    for (const assignment of assignments) {
      if (assignment.token !== token || !assignment.kept) continue
      const output = project(x, rowOf(experts, assignment.expert))
      y = add(
        y,
        output.map((value) => assignment.gate * value),
      )
    }
    return y
  })
}

/**
 * y_t = Σ gate · E(x_t) over the kept assignments of t, plus the shared expert, if any.
 * @param mix [D, 1]: the shared expert is scaled by sigmoid(x_t·mix) (Qwen2-MoE), or by 1 if it is null
 */
export function mixture(
  x_TD: Matrix,
  assignments: readonly Assignment[],
  experts: readonly FeedForward[],
  shared: FeedForward | null,
  mix: Matrix | null = null,
): number[][] {
  return x_TD.map((x, token) => {
    let y: number[] = x.map(() => 0)
    for (const assignment of assignments) {
      if (assignment.token !== token || !assignment.kept) continue
      const output = feedForward(x, rowOf(experts, assignment.expert))
      y = add(
        y,
        output.map((value) => assignment.gate * value),
      )
    }
    if (!shared) return y
    const factor = mix ? sigmoid(at(project(x, mix), 0)) : 1
    return add(
      y,
      feedForward(x, shared).map((value) => factor * value),
    )
  })
}
