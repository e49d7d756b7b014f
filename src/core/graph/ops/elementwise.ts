/** Elementwise ops. Binary ops broadcast as NumPy does; their gradients sum over the broadcast axes. */
import type { DType } from '../model.ts'
import { broadcast, sameShape } from '../shape.ts'
import { asTensor, constant, defineIndexOp, defineOp, emit, type Operand, type Tensor } from '../tensor.ts'
import { erfFloat64 } from './erf64.ts'
import { sumTo } from './reduction.ts'

const operands = (a: Operand, b: Operand): [Tensor, Tensor] => {
  const like = (typeof a === 'number' ? b : a) as Tensor
  return [asTensor(a, like), asTensor(b, like)]
}

const binary = (type: string, a: Tensor, b: Tensor): Tensor => {
  if (a.dtype !== b.dtype) throw new Error(`${type} of ${a.dtype} and ${b.dtype}`)
  return emit(type, [a, b], { shape: broadcast(a.shape, b.shape) })
}

export const add: (a: Operand, b: Operand) => Tensor = defineOp('add', 'elementwise', (p: Operand, q: Operand) => {
  const [a, b] = operands(p, q)
  return {
    result: binary('Add', a, b),
    inputs: [a, b],
    gradient: (dy) => [dy && sumTo(dy, a.shape), dy && sumTo(dy, b.shape)],
  }
})

export const subtract: (a: Operand, b: Operand) => Tensor = defineOp(
  'subtract',
  'elementwise',
  (p: Operand, q: Operand) => {
    const [a, b] = operands(p, q)
    return {
      result: binary('Sub', a, b),
      inputs: [a, b],
      gradient: (dy) => [dy && sumTo(dy, a.shape), dy && negate(sumTo(dy, b.shape))],
    }
  },
)

export const multiply: (a: Operand, b: Operand) => Tensor = defineOp(
  'multiply',
  'elementwise',
  (p: Operand, q: Operand) => {
    const [a, b] = operands(p, q)
    return {
      result: binary('Mul', a, b),
      inputs: [a, b],
      gradient: (dy) => [dy && sumTo(multiply(dy, b), a.shape), dy && sumTo(multiply(dy, a), b.shape)],
    }
  },
)

export const divide: (a: Operand, b: Operand) => Tensor = defineOp(
  'divide',
  'elementwise',
  (p: Operand, q: Operand) => {
    const [a, b] = operands(p, q)
    const y = binary('Div', a, b)
    return {
      result: y,
      inputs: [a, b],
      gradient: (dy) => {
        const da = dy && divide(dy, b)
        return [da && sumTo(da, a.shape), da && sumTo(negate(multiply(da, y)), b.shape)]
      },
    }
  },
)

const extremum = (name: string, type: string) =>
  defineOp(name, 'elementwise', (p: Operand, q: Operand) => {
    const [a, b] = operands(p, q)
    const y = binary(type, a, b)
    return {
      result: y,
      inputs: [a, b],
      gradient: (dy) => {
        if (!dy) return []
        const first = equal(a, y)
        return [sumTo(where(first, dy, 0), a.shape), sumTo(where(first, 0, dy), b.shape)]
      },
    }
  })

/** The larger of two. If they are equal, the gradient goes to the first. */
export const maximum: (a: Operand, b: Operand) => Tensor = extremum('maximum', 'Max')
/** The smaller of two. If they are equal, the gradient goes to the first. */
export const minimum: (a: Operand, b: Operand) => Tensor = extremum('minimum', 'Min')

/** Remainder of non-negative integers. */
export const remainder: (a: Operand, b: Operand) => Tensor = defineIndexOp(
  'remainder',
  'elementwise',
  (p: Operand, q: Operand) => binary('Mod', ...operands(p, q)),
)

const unary = (name: string, type: string, derivative: (dy: Tensor, x: Tensor, y: Tensor) => Tensor) =>
  defineOp(name, 'elementwise', (x: Tensor) => {
    const y = emit(type, [x], { shape: x.shape })
    return { result: y, inputs: [x], gradient: (dy) => [dy && derivative(dy, x, y)] }
  })

export const negate: (x: Tensor) => Tensor = unary('negate', 'Neg', (dy) => negate(dy))
export const exp: (x: Tensor) => Tensor = unary('exp', 'Exp', (dy, _, y) => multiply(dy, y))
export const log: (x: Tensor) => Tensor = unary('log', 'Log', (dy, x) => divide(dy, x))
export const sqrt: (x: Tensor) => Tensor = unary('sqrt', 'Sqrt', (dy, _, y) => divide(multiply(dy, 0.5), y))
export const tanh: (x: Tensor) => Tensor = unary('tanh', 'Tanh', (dy, _, y) =>
  multiply(dy, subtract(1, multiply(y, y))),
)
export const sigmoid: (x: Tensor) => Tensor = unary('sigmoid', 'Sigmoid', (dy, _, y) =>
  multiply(dy, multiply(y, subtract(1, y))),
)

export const square: (x: Tensor) => Tensor = defineOp('square', 'elementwise', (x: Tensor) => ({
  result: emit('Mul', [x, x], { shape: x.shape }),
  inputs: [x],
  gradient: (dy) => [dy && multiply(multiply(dy, 2), x)],
}))

/** Gauss's error function. ONNX Runtime has it in float32 only; in float64 (for gradient checks) it is a series. */
export const erf: (x: Tensor) => Tensor = defineOp('erf', 'elementwise', (x: Tensor) => ({
  result: emitErf(x),
  inputs: [x],
  gradient: (dy) => [dy && multiply(dy, multiply(exp(negate(square(x))), 2 / Math.sqrt(Math.PI)))],
}))

/** The nodes of erf, for ops that keep its result for their own gradient. */
export const emitErf = (x: Tensor): Tensor =>
  x.dtype === 'float64' ? erfFloat64(x) : emit('Erf', [x], { shape: x.shape })

/** `a` where the condition holds, else `b`; the gradient goes to the chosen operand. */
export const where: (condition: Tensor, a: Operand, b: Operand) => Tensor = defineOp(
  'where',
  'elementwise',
  (condition: Tensor, p: Operand, q: Operand) => {
    const [a, b] = operands(p, q)
    return {
      result: emit('Where', [condition, a, b], {
        dtype: a.dtype,
        shape: broadcast(condition.shape, broadcast(a.shape, b.shape)),
      }),
      inputs: [a, b],
      gradient: (dy) => (dy ? [sumTo(where(condition, dy, 0), a.shape), sumTo(where(condition, 0, dy), b.shape)] : []),
    }
  },
)

/** Converts the dtype. The gradient passes between float types and stops at integers. */
export const cast: (x: Tensor, dtype: DType) => Tensor = defineOp('cast', 'elementwise', (x: Tensor, dtype: DType) => ({
  result: emitCast(x, dtype),
  inputs: [x],
  gradient: (dy) => [dy && cast(dy, x.dtype)],
}))

const onnxType = { float32: 1, int32: 6, int64: 7, bool: 9, float64: 11 } as const

const emitCast = (x: Tensor, dtype: DType): Tensor =>
  x.dtype === dtype ? x : emit('Cast', [x], { dtype, shape: x.shape, attributes: { to: onnxType[dtype] } })

const comparison = (name: string, type: string): ((a: Operand, b: Operand) => Tensor) =>
  defineIndexOp(name, 'elementwise', (p: Operand, q: Operand) => {
    const [a, b] = operands(p, q)
    return emit(type, [a, b], { dtype: 'bool', shape: broadcast(a.shape, b.shape) })
  })

export const equal: (a: Operand, b: Operand) => Tensor = comparison('equal', 'Equal')
export const less: (a: Operand, b: Operand) => Tensor = comparison('less', 'Less')
export const greaterOrEqual: (a: Operand, b: Operand) => Tensor = comparison('greater-or-equal', 'GreaterOrEqual')

/** `x` broadcast to a larger shape. */
export const broadcastTo: (x: Tensor, shape: readonly number[]) => Tensor = defineOp(
  'broadcast-to',
  'elementwise',
  (x: Tensor, shape: readonly number[]) => ({
    result: sameShape(x.shape, shape) ? x : emit('Expand', [x, constant(shape, 'int64')], { shape }),
    inputs: [x],
    gradient: (dy) => [dy && sumTo(dy, x.shape)],
  }),
)
