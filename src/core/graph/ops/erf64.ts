/**
 * erf in float64 for gradient checks: ONNX Runtime's `Erf` is float32 only.
 *
 * erf(x) = 2/√π · x · e^(−x²) · Σ_n (2x²)ⁿ / (2n+1)!!  (Abramowitz and Stegun 7.1.6). All terms are
 * positive, so nothing cancels; |x| is clamped at 6, where erf is 1 to the last bit. The series is written
 * as powers times a coefficient vector, so the number of nodes does not depend on the number of terms.
 */
import { constant, emit, type Tensor } from '../tensor.ts'

const TERMS = 140
const LIMIT = 6

export function erfFloat64(x: Tensor): Tensor {
  const coefficients = new Float64Array(TERMS)
  coefficients[0] = 1
  for (let n = 1; n < TERMS; n++) coefficients[n] = ((coefficients[n - 1] as number) * 2) / (2 * n + 1)
  const powers = Float64Array.from({ length: TERMS }, (_, n) => n)

  const shape = x.shape
  const scalar = (value: number) => constant(value, 'float64')
  const clamped = emit('Min', [emit('Max', [x, scalar(-LIMIT)], { shape }), scalar(LIMIT)], { shape })
  const squared = emit('Mul', [clamped, clamped], { shape })
  const column = emit('Unsqueeze', [squared, constant([shape.length], 'int64')], { shape: [...shape, 1] })
  const terms = emit('Pow', [column, constant(powers, 'float64')], { shape: [...shape, TERMS] })
  const weighted = emit('Mul', [terms, constant(coefficients, 'float64')], { shape: terms.shape })
  const last = constant([shape.length], 'int64')
  const series = emit('ReduceSum', [weighted, last], { shape, attributes: { keepdims: 0 } })
  const gauss = emit('Exp', [emit('Neg', [squared], { shape })], { shape })
  const scaled = emit('Mul', [clamped, scalar(2 / Math.sqrt(Math.PI))], { shape })
  return emit('Mul', [emit('Mul', [scaled, gauss], { shape }), series], { shape })
}
