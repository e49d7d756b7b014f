/** @slow */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { add, cast, divide, multiply } from '../../core/graph/ops/elementwise.ts'
import { matmul } from '../../core/graph/ops/matmul.ts'
import { mean } from '../../core/graph/ops/reduction.ts'
import { concat, reshape, slice, zeros } from '../../core/graph/ops/shape.ts'
import { stopGradient } from '../../core/graph/ops/stop-gradient.ts'
import { constant, type Tensor } from '../../core/graph/tensor.ts'
import { type LayerInput, type OwnLayer, ownLayers } from '../../core/model/own/layer.ts'
import { createRuntime } from '../../engine/cpu/cpu-runtime.ts'
import type { PluginCheck } from './check.ts'
import { checkLayer } from './check-layer.ts'
import type { Runtimes } from './check-router.ts'
import { failures } from './testing/failures.ts'

let runtimes: Runtimes
beforeAll(async () => {
  runtimes = { one: await createRuntime({ threads: 1 }), two: await createRuntime({ threads: 2 }) }
})
afterAll(async () => {
  await runtimes.one.close()
  await runtimes.two.close()
})

const parameters: NonNullable<OwnLayer['parameters']> = ({ width }) => ({
  matrix: { shape: [width, width], init: 'normal' },
})
const product = ({ x_TD, weights }: LayerInput): Tensor => matmul(x_TD, weights.matrix as Tensor)

let count = 0
async function found(layer: Omit<OwnLayer, 'name'>): Promise<PluginCheck> {
  const id = `test@${String(1000 + count++).padStart(16, '0')}`
  ownLayers.register(id, { name: 'test', parameters, ...layer })
  return checkLayer(id, runtimes)
}

/** The row of the token before, zeros for the first token of a sequence. */
function before(x_TD: Tensor, sequence: number): Tensor {
  const [tokens = 0, width = 0] = x_TD.shape
  const x_BSD = reshape(x_TD, [tokens / sequence, sequence, width])
  const first = zeros([tokens / sequence, 1, width], x_TD)
  return reshape(concat([first, slice(x_BSD, 1, 0, sequence - 1)], 1), [tokens, width])
}

test('a linear layer with a loss passes every check', async () => {
  const report = await found({ apply: (given) => ({ y_TD: product(given), loss: mean(product(given)) }) })
  expect(failures(report)).toBe('')
  expect(report).toMatchObject({ part: 'layer', time: { over: 'a dense network' } })
  expect(report.checks).toHaveLength(4)
}, 60_000)

test('a layer that sees the token before passes if it says so', async () => {
  const apply = (given: LayerInput) => add(product(given), before(given.x_TD, given.sequence))
  expect(failures(await found({ sees: 'past', apply }))).toBe('')
  expect(failures(await found({ apply }))).toMatch(/sees \("token"\): token \d+ follows from other tokens/)
}, 60_000)

test('a layer with stopped gradients passes, also where one stopped value depends on another', async () => {
  const apply = (given: LayerInput) => {
    const y = product(given)
    const steps = multiply(cast(cast(multiply(y, 1e7), 'int32'), y.dtype), 1e-7)
    const once = add(y, stopGradient(steps))
    return multiply(once, stopGradient(add(once, 1)))
  }
  expect(failures(await found({ apply }))).toBe('')
}, 60_000)

describe('the check finds', () => {
  test('an output that depends on later tokens', async () => {
    const apply = (given: LayerInput) => add(product(given), mean(given.x_TD, { axes: [0], keepDims: true }))
    expect(failures(await found({ sees: 'past', apply }))).toMatch(/"past".*follows from later tokens/)
    expect(failures(await found({ sees: 'batch', apply }))).toBe('')
  }, 60_000)

  test('a parameter without a gradient, whether it is read or not', async () => {
    expect(failures(await found({ apply: ({ x_TD }) => x_TD }))).toMatch(/no gradient reaches the parameter matrix$/)
    const rounded = (given: LayerInput) => {
      const whole = cast(cast(multiply(product(given), 100), 'int32'), given.x_TD.dtype)
      return add(given.x_TD, whole)
    }
    expect(failures(await found({ apply: rounded }))).toMatch(/no gradient reaches the parameter matrix$/)
  }, 60_000)

  test('a gradient that is not the derivative', async () => {
    // Half of the output is rounded, so that it moves in steps without a gradient.
    const apply = (given: LayerInput) => {
      const y = product(given)
      const steps = multiply(cast(cast(multiply(y, 1e7), 'int32'), y.dtype), 1e-7)
      return add(y, steps)
    }
    expect(failures(await found({ apply }))).toMatch(/^gradients .*: gradient .*, differences/)
  }, 60_000)

  test('an output that is not finite, and one that is drawn while it is traced', async () => {
    const apply = (given: LayerInput) => add(product(given), divide(constant(1, given.x_TD.dtype), 0))
    expect(failures(await found({ apply }))).toMatch(/finite: y\[0\] is Infinity/)
    const drawn = (given: LayerInput) => multiply(product(given), 1 + Math.random())
    expect(failures(await found({ apply: drawn }))).toMatch(/traced again/)
  }, 60_000)
})
