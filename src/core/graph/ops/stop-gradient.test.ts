import { expect, test } from 'vitest'
import { createRuntime } from '../../../faces/library/graph.ts'
import { add, cast, gradient, input, multiply, stopGradient, subtract, sum, type Tensor } from './public.ts'

/** The sum of `of(x)` at x, and its gradient. */
async function computed(x: readonly number[], of: (x: Tensor) => Tensor) {
  const port = input('x', 'float64', [x.length])
  const loss = sum(of(port))
  const [dx] = gradient(loss, [port]) as [Tensor]
  const runtime = await createRuntime({ threads: 1 })
  try {
    const memory = { x: Float64Array.from(x), loss: new Float64Array(1), dx: new Float64Array(x.length) }
    await (await runtime.compile({ outputs: { loss, dx } })).bind(memory).run()
    return { loss: memory.loss[0], dx: Array.from(memory.dx) }
  } finally {
    await runtime.close()
  }
}

test('a product with the stopped x has the values of the square, and half of its gradient', async () => {
  expect(await computed([1, -2, 3], (x) => multiply(x, stopGradient(x)))).toEqual({ loss: 14, dx: [1, -2, 3] })
})

test('a loss of stopped values alone has a gradient of zeros', async () => {
  expect(await computed([2, 5], (x) => stopGradient(multiply(x, x)))).toEqual({ loss: 29, dx: [0, 0] })
})

test('a straight-through estimator has the values of one tensor and the gradient of another', async () => {
  const rounded = (x: Tensor) => cast(cast(x, 'int32'), x.dtype)
  const of = (x: Tensor) => add(multiply(x, x), stopGradient(subtract(rounded(x), multiply(x, x))))
  expect(await computed([1.25, 3.75], of)).toEqual({ loss: 4, dx: [2.5, 7.5] })
})
