import { expect, test } from 'vitest'
import { createRuntime } from '../../faces/library/graph.ts'
import { UsageError } from '../errors.ts'
import {
  defineOp,
  emit,
  emitMany,
  gradient,
  input,
  multiply,
  type Operand,
  sum,
  type Tensor,
  tanh,
} from './ops/public.ts'

/** |x|; at 0 the gradient is 0. */
const abs = defineOp('abs', (x: Tensor) => ({
  result: emit('Abs', [x], { shape: x.shape }),
  inputs: [x],
  gradient: (dy) => [dy && multiply(dy, emit('Sign', [x], { shape: x.shape }))],
}))

/** The largest and the second largest number of each row, as two results. */
const largestTwo = defineOp('largest-two', (x: Tensor) => {
  const [rows = 0, columns = 0] = x.shape
  const two = emit('Constant', [], { shape: [1], dtype: 'int64', attributes: { value_ints: [2] } })
  const [values, places] = emitMany(
    'TopK',
    [x, two],
    [
      { dtype: x.dtype, shape: [rows, 2] },
      { dtype: 'int64', shape: [rows, 2] },
    ],
  ) as [Tensor, Tensor]
  const column = (i: number, of: Tensor) => {
    const at = (attributes: number) =>
      emit('Constant', [], { shape: [1], dtype: 'int64', attributes: { value_ints: [attributes] } })
    return emit('Slice', [of, at(i), at(i + 1), at(1)], { shape: [rows, 1] })
  }
  const zero = multiply(x, 0)
  const placed = (dy: Tensor | undefined, i: number) =>
    dy && emit('ScatterElements', [zero, column(i, places), dy], { shape: [rows, columns], attributes: { axis: 1 } })
  return {
    result: [column(0, values), column(1, values)] as const,
    inputs: [x],
    gradient: (first, second) => {
      const parts = [placed(first, 0), placed(second, 1)].filter((part) => part !== undefined)
      return [parts.length === 2 ? emit('Sum', parts as Tensor[], { shape: x.shape }) : parts[0]]
    },
  }
})

/** The loss at x, and its gradient, computed in float64. */
async function computed(x: readonly number[], shape: readonly number[], of: (x: Tensor) => Tensor) {
  const port = input('x', 'float64', shape)
  const loss = of(port)
  const [dx] = gradient(loss, [port]) as [Tensor]
  const runtime = await createRuntime({ threads: 1 })
  try {
    const program = await runtime.compile({ outputs: { loss, dx } })
    const memory = { x: Float64Array.from(x), loss: new Float64Array(1), dx: new Float64Array(x.length) }
    const binding = program.bind(memory)
    await binding.run()
    const numeric = []
    for (const i of x.keys()) {
      const at = async (by: number) => {
        memory.x.set(x)
        memory.x[i] = (x[i] as number) + by
        await binding.run()
        return memory.loss[0] as number
      }
      numeric.push(((await at(1e-5)) - (await at(-1e-5))) / 2e-5)
    }
    memory.x.set(x)
    await binding.run()
    return { loss: memory.loss[0] as number, dx: [...memory.dx], numeric }
  } finally {
    await runtime.close()
  }
}

test("an op of one's own computes, and its gradient agrees with finite differences", async () => {
  const x = [-2, 0.5, 3, -0.25, 1.5, -4]
  const { loss, dx, numeric } = await computed(x, [2, 3], (port) => sum(multiply(abs(port), tanh(port))))
  expect(loss).toBeCloseTo(
    x.reduce((total, value) => total + Math.abs(value) * Math.tanh(value), 0),
    10,
  )
  for (const [i, value] of dx.entries()) expect(value).toBeCloseTo(numeric[i] as number, 6)
})

test('an op may have several results, of which a loss uses some', async () => {
  const x = [5, -1, 2, 0.5, 7, 3]
  for (const uses of [
    (a: Tensor, b: Tensor) => multiply(a, b),
    (a: Tensor) => multiply(a, a),
    (_: Tensor, b: Tensor) => b,
  ]) {
    const of = (port: Tensor) => sum(uses(...(largestTwo(port) as unknown as [Tensor, Tensor])))
    const { dx, numeric } = await computed(x, [2, 3], of)
    for (const [i, value] of dx.entries()) expect(value).toBeCloseTo(numeric[i] as number, 6)
    expect(dx.some((value) => value !== 0)).toBe(true)
  }
})

test('two ops of one name are two ops, since programs may load the same file twice', () => {
  const twice = [1, 2].map((factor) =>
    defineOp('scaled', (x: Tensor) => ({
      result: emit('Mul', [x, multiply(x, 0)], { shape: x.shape }),
      inputs: [x],
      gradient: (dy) => [dy && multiply(dy, factor as Operand)],
    })),
  )
  expect(twice[0]).not.toBe(twice[1])
})

test('a wrong definition is refused where it is made, with what was expected', () => {
  const x = input('x', 'float32', [3])
  const untyped = { emit, emitMany, defineOp } as unknown as Record<
    'emit' | 'emitMany' | 'defineOp',
    (...given: unknown[]) => never
  >
  const applied = (build: unknown) => (untyped.defineOp('wrong', build) as (x: Tensor) => Tensor)(x)
  const graded = (gradients: unknown) =>
    gradient(sum(applied(() => ({ result: abs(x), inputs: [x], gradient: () => gradients }))), [x])
  const cases: [() => unknown, RegExp][] = [
    [
      () => untyped.emit('abs', [x], { shape: [3] }),
      /^invalid operator "abs" \(expected the name of an operator of ONNX/,
    ],
    [
      () => untyped.emit('Abs', x, { shape: [3] }),
      /^invalid inputs of operator "Abs": an object \(expected a list of tensors/,
    ],
    [() => untyped.emit('Abs', [x]), /^invalid options of emit, "Abs",: undefined/],
    [() => untyped.emit('Abs', [x], { shpae: [3] }), /^unknown field shpae in options of emit.*did you mean "shape"\?/],
    [
      () => untyped.emit('Abs', [x], { shape: [-1] }),
      /^invalid shape of operator "Abs": \[-1\] \(expected a list of whole/,
    ],
    [() => untyped.emit('Abs', [], { shape: [] }), /^invalid dtype of operator "Abs": undefined \(expected float32, /],
    [() => untyped.emit('Abs', [x], { shape: [3], domain: 'mine' }), /^invalid domain of operator "Abs": "mine"/],
    [() => untyped.emitMany('Split', [x], [3]), /^invalid outputs of operator "Split": \[3\]/],
    [() => untyped.emitMany('Split', [x], [], { axis: 1 }), /^unknown field axis in options of operator "Split"/],
    [() => untyped.defineOp('', () => x), /^invalid name of an op: ""/],
    [() => untyped.defineOp('op', 'elementwise'), /^invalid op "op": "elementwise" \(expected a function\)/],
    [() => applied(() => x), /^unknown field dtype in result of op wrong \(accepted: result, inputs, gradient/],
    [() => applied(() => ({ result: 5, inputs: [x], gradient: () => [] })), /^op wrong: its result is no tensor/],
    [
      () => applied(() => ({ result: x, inputs: x, gradient: () => [] })),
      /^op wrong: its inputs are no list of tensors/,
    ],
    [() => applied(() => ({ result: x, inputs: [x] })), /^op wrong: its gradient is undefined/],
    [() => graded([]), /^op wrong: its gradient rule returns 0 gradients \(expected 1, one for each input\)/],
    [() => graded(x), /^op wrong: its gradient rule returns an object/],
    [() => graded([sum(x)]), /^op wrong: the gradient of its input 0 is float32 \[\] \(expected float32 \[3\]\)/],
    [() => graded([5]), /^op wrong: the gradient of its input 0 is no tensor/],
  ]
  for (const [call, message] of cases) {
    expect(call).toThrow(message)
    expect(call).toThrow(UsageError)
  }
})
