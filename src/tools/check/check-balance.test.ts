/** @slow */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { add, cast, divide, multiply, square } from '../../core/graph/ops/elementwise.ts'
import { mean, sum } from '../../core/graph/ops/reduction.ts'
import { constant } from '../../core/graph/tensor.ts'
import { type BalanceInput, type OwnBalance, ownBalances } from '../../core/model/routing/own-balance.ts'
import { createRuntime } from '../../engine/cpu/cpu-runtime.ts'
import type { PluginCheck } from './check.ts'
import { checkBalance } from './check-balance.ts'
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

let count = 0
async function found(loss: OwnBalance['loss']): Promise<PluginCheck> {
  const id = `test@${String(count++).padStart(16, '0')}`
  ownBalances.register(id, { name: 'test', loss })
  return checkBalance(id, runtimes)
}

const squares = ({ probability_TZN }: BalanceInput) => mean(square(probability_TZN))

test('a smooth loss passes every check, and one for one prototype says so', async () => {
  const report = await found(squares)
  expect(failures(report)).toBe('')
  expect(report).toMatchObject({ part: 'balance', time: { over: 'the loss "switch"' } })
  const only = await found((input) => {
    if (input.moe.prototypes > 1) throw new Error('one prototype only')
    return squares(input)
  })
  expect(failures(only)).toBe('')
  expect(only.checks[0]?.found).toContain('refused: two prototypes')
}, 60_000)

describe('the check finds', () => {
  test('a loss of counts, which have no gradient', async () => {
    const ofCounts = ({ count_GN, gate_TK }: BalanceInput) => mean(square(cast(count_GN, gate_TK.dtype)))
    expect(failures(await found(ofCounts))).toMatch(/no gradient of the loss reaches the router: a count has none/)
  }, 60_000)

  test('a loss that is not finite', async () => {
    const zero = (input: BalanceInput) => divide(squares(input), constant(0, input.gate_TK.dtype))
    expect(failures(await found(zero))).toMatch(/finite number: Infinity \(top-1\)/)
  }, 60_000)

  test('a gradient that is not the derivative', async () => {
    const rounded = (input: BalanceInput) => {
      const loss = sum(square(input.probability_TZN))
      return add(loss, multiply(cast(cast(multiply(loss, 1e7), 'int32'), loss.dtype), 1e-7))
    }
    expect(failures(await found(rounded))).toMatch(/finite differences.*: gradient .*, differences/)
  }, 60_000)
})

test.each<[string, OwnBalance['loss'], RegExp]>([
  [
    'another shape',
    ({ gate_TK }) => gate_TK,
    /^balancing loss test: loss returned float32 \[15,1\] \(expected a tensor f/,
  ],
  ['nothing', () => undefined as never, /loss returned undefined/],
  [
    'an error',
    () => {
      throw new Error('my own fault')
    },
    /^balancing loss test: loss: my own fault/,
  ],
])('%s in place of a scalar is refused by name', async (_, loss, message) => {
  await expect(found(loss)).rejects.toThrow(message)
})
