/** @slow */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { add, cast, multiply, negate } from '../../core/graph/ops/elementwise.ts'
import { softmax } from '../../core/graph/ops/fused.ts'
import { takeAlong } from '../../core/graph/ops/indexing.ts'
import { matmul } from '../../core/graph/ops/matmul.ts'
import { topK } from '../../core/graph/ops/order.ts'
import { mean } from '../../core/graph/ops/reduction.ts'
import { concat, reshape, slice, zeros } from '../../core/graph/ops/shape.ts'
import { sinkhorn } from '../../core/graph/ops/sinkhorn.ts'
import { stopGradient } from '../../core/graph/ops/stop-gradient.ts'
import { constant, type Tensor } from '../../core/graph/tensor.ts'
import type { Choice, RouterInput } from '../../core/model/routing/contract.ts'
import { type OwnRouter, ownRouters } from '../../core/model/routing/own.ts'
import { createRuntime } from '../../engine/cpu/cpu-runtime.ts'
import type { PluginCheck } from './check.ts'
import { checkRouter, type Runtimes } from './check-router.ts'
import { failures } from './testing/failures.ts'

let runtimes: Runtimes
beforeAll(async () => {
  runtimes = { one: await createRuntime({ threads: 1 }), two: await createRuntime({ threads: 2 }) }
})
afterAll(async () => {
  await runtimes.one.close()
  await runtimes.two.close()
})

const parameters = ({ moe, width }: { readonly moe: RouterInput['moe']; readonly width: number }) => ({
  weight: { shape: [width, moe.experts], init: 'normal' as const },
})

/** Top-k of the logits that `logitsOf` computes from those of a linear router. */
const topKOf =
  (logitsOf: (logits: Tensor, input: RouterInput) => Tensor, change = (choice: Choice, _: RouterInput) => choice) =>
  (input: RouterInput): Choice => {
    const { moe, x_TD, weights } = input
    const logits = logitsOf(matmul(x_TD, weights.weight as Tensor), input)
    const [gate_TK, expert_TK] = topK(softmax(logits), moe.k)
    const shape = [x_TD.shape[0] as number, 1, moe.experts]
    const distribution = { logits_TZN: reshape(logits, shape), probability_TZN: reshape(softmax(logits), shape) }
    return change({ expert_TK, gate_TK, ...distribution }, input)
  }

let count = 0
async function found(router: Omit<OwnRouter, 'name'>): Promise<PluginCheck> {
  const id = `test@${String(count++).padStart(16, '0')}`
  ownRouters.register(id, { name: 'test', parameters, ...router })
  return checkRouter(id, runtimes)
}

test('a router like top-k passes every check', async () => {
  const report = await found({ choose: topKOf((logits) => logits) })
  expect(failures(report)).toBe('')
  expect(report.checks).toHaveLength(6)
  expect(report.time?.ratio).toBeGreaterThan(0)
}, 60_000)

test('a router for one expert of a token passes, and its checks are made with one', async () => {
  const choose = topKOf((logits) => logits)
  const onlyOne = (input: RouterInput): Choice => choose({ ...input, moe: { ...input.moe, k: 1, prototypes: 1 } })
  const report = await found({ choose: onlyOne })
  expect(failures(report)).toBe('')
  expect(report.checks).toHaveLength(6)
  expect(report.checks[0]?.found).toContain('refused: k 2, two prototypes')
}, 60_000)

/** The logits plus the mean of all logits of a pass. */
const aware = (logits: Tensor) => add(logits, multiply(mean(logits, { axes: [0], keepDims: true }), 3))

describe('the check finds', () => {
  test('a choice that depends on other tokens, which the router does not declare', async () => {
    expect(failures(await found({ choose: topKOf(aware) }))).toMatch(
      /sees \("token"\): token \d+ follows from other.*; it has no sees, which means "token": add sees: 'past' .* or sees: 'batch' for any token$/,
    )
    expect(failures(await found({ choose: topKOf(aware), sees: 'token' }))).not.toContain('add sees')
    expect(failures(await found({ choose: topKOf(aware), sees: 'past' }))).toMatch(/"past".*follows from later tokens/)
    expect(failures(await found({ choose: topKOf(aware), sees: 'batch' }))).toBe('')
  }, 120_000)

  test('an expert that a token chooses twice', async () => {
    const twice = (choice: Choice, { moe }: RouterInput) => {
      const first = slice(choice.expert_TK, 1, 0, 1)
      return moe.k === 1 ? choice : { ...choice, expert_TK: concat([first, first], 1) }
    }
    expect(failures(await found({ choose: topKOf((logits) => logits, twice) }))).toMatch(
      /chose an expert twice: \d, \d \(k 2/,
    )
  }, 60_000)

  test('a negative gate', async () => {
    const negative = (choice: Choice) => ({ ...choice, gate_TK: negate(choice.gate_TK) })
    expect(failures(await found({ choose: topKOf((logits) => logits, negative) }))).toMatch(/has a gate of -0\.\d+/)
  }, 60_000)

  test('gates that give the router no gradient, because they are rounded', async () => {
    const detached = (choice: Choice) => {
      const thousands = cast(cast(multiply(choice.gate_TK, 1000), 'int32'), choice.gate_TK.dtype)
      return { ...choice, gate_TK: multiply(thousands, 0.001) }
    }
    expect(failures(await found({ choose: topKOf((logits) => logits, detached) }))).toMatch(
      /^gradients .*no gradient of/,
    )
  }, 60_000)

  test('a parameter that no gradient reaches, such as one inside of stopGradient', async () => {
    const own: NonNullable<OwnRouter['parameters']> = (input) => ({
      ...parameters(input),
      strength: { shape: [1], init: 'ones' },
    })
    const stopped = topKOf((logits, { weights }) => multiply(logits, stopGradient(weights.strength as Tensor)))
    expect(failures(await found({ parameters: own, choose: stopped }))).toMatch(
      /no gradient reaches the parameter \S*strength: does stopGradient hide it\?$/,
    )
    const learned = topKOf((logits, { weights }) => multiply(logits, weights.strength as Tensor))
    expect(failures(await found({ parameters: own, choose: learned }))).toBe('')
  }, 60_000)

  test('a gradient that is not the derivative: gates from Sinkhorn, whose rounds have none', async () => {
    const balanced = (choice: Choice, { moe }: RouterInput) => {
      const gates = softmax(
        sinkhorn(
          reshape(
            choice.logits_TZN as Tensor,
            [1, -1, moe.experts].map((n) => (n < 0 ? (choice.expert_TK.shape[0] as number) : n)),
          ),
          2,
        ),
      )
      const gate = takeAlong(reshape(gates, [choice.expert_TK.shape[0] as number, moe.experts]), choice.expert_TK, 1)
      return { ...choice, gate_TK: multiply(add(gate, choice.gate_TK), 0.5) }
    }
    const report = await found({ choose: topKOf((logits) => logits, balanced), sees: 'batch' })
    expect(failures(report)).toMatch(/^gradients .*: gradient .*, differences/)
  }, 60_000)

  test('a leak from the sequence before, which only the first token of a sequence shows', async () => {
    const shifted = (logits: Tensor) => {
      const [tokens = 0, experts = 0] = logits.shape
      return add(logits, concat([zeros([1, experts], logits), slice(logits, 0, 0, tokens - 1)], 0))
    }
    expect(failures(await found({ choose: topKOf(shifted), sees: 'past' }))).toMatch(
      /"past".*token 5 follows from later/,
    )
  }, 60_000)

  test.each([8, 24])(
    'a router that sees %i tokens ahead, or the whole of a block, in sequences long enough',
    async (size) => {
      /** Logits plus those of `size` positions later, if there are so many. */
      const ahead = (logits: Tensor, { sequence }: RouterInput) => {
        const [tokens = 0, experts = 0] = logits.shape
        if (sequence <= size) return logits
        const rows = reshape(logits, [tokens / sequence, sequence, experts])
        const later = concat([slice(rows, 1, size, sequence), zeros([tokens / sequence, size, experts], logits)], 1)
        return add(logits, reshape(later, [tokens, experts]))
      }
      /** Logits plus the mean of those of a block; without blocks where they do not fit. */
      const block = (logits: Tensor, { sequence }: RouterInput) => {
        const [tokens = 0, experts = 0] = logits.shape
        if (sequence % size !== 0) return logits
        const blocks = reshape(logits, [tokens / size, size, experts])
        return reshape(add(blocks, mean(blocks, { axes: [1], keepDims: true })), [tokens, experts])
      }
      for (const logits of [ahead, block])
        expect(failures(await found({ choose: topKOf(logits), sees: 'past' }))).toMatch(
          /"past".*follows from later tokens.* \(in 2 sequences of 1\d\d tokens\)/,
        )
    },
    120_000,
  )

  test('a router that refuses some sequences is not tested in them, and the check says so', async () => {
    const some = (logits: Tensor) => {
      if (logits.shape[0] === 240) throw new Error('240 tokens are too many')
      return logits
    }
    const report = await found({ choose: topKOf(some) })
    expect(failures(report)).toBe('')
    expect(report.checks.find(({ name }) => name.includes('sees'))?.found).toBe(
      'with other tokens changed, in sequences of 5 and 128 tokens; not tested in 120 tokens: router test: choose: 240 tokens are too many',
    )
  }, 60_000)

  test('an expert that does not exist, or is in another prototype', async () => {
    const beyond = (choice: Choice, { moe }: RouterInput) => ({
      ...choice,
      expert_TK: add(choice.expert_TK, constant(moe.experts, 'int32')),
    })
    const report = await found({ choose: topKOf((logits) => logits, beyond) })
    expect(failures(report)).toMatch(/token 0 chose expert \d+ of 6/)
    expect(report).toMatchObject({ checks: [{ passed: false }], time: null })
    const ofAll = (input: RouterInput): Choice => {
      const { moe, x_TD, weights } = input
      const logits = matmul(x_TD, weights.weight as Tensor)
      const [gate_TK, expert_TK] = topK(softmax(logits), moe.k * moe.prototypes)
      const shape = [x_TD.shape[0] as number, moe.prototypes, moe.experts / moe.prototypes]
      return {
        expert_TK,
        gate_TK,
        logits_TZN: reshape(logits, shape),
        probability_TZN: softmax(reshape(logits, shape)),
      }
    }
    expect(failures(await found({ choose: ofAll }))).toMatch(/in another prototype than its own/)
  }, 60_000)

  test('a router that draws while it is traced', async () => {
    const drawn = (logits: Tensor) =>
      add(
        logits,
        constant(Float64Array.from({ length: logits.shape[1] as number }, Math.random), logits.dtype, [
          1,
          logits.shape[1] as number,
        ]),
      )
    expect(failures(await found({ choose: topKOf(drawn) }))).toMatch(/traced again/)
  }, 60_000)
})

describe('the checks of ranks find', () => {
  test('a router that depends on the number of rows of the call, also where every pass has the same bits', async () => {
    const byRows = (logits: Tensor) => multiply(logits, (logits.shape[0] as number) / 64)
    for (const sees of ['token', 'past'] as const)
      expect(failures(await found({ choose: topKOf(byRows), sees }))).toMatch(
        /^choices do not depend on how many sequences a rank has in a pass: token 0 has another choice in a pass of 2 sequences than in one of 4/,
      )
    const { checks } = await found({ choose: topKOf(byRows), sees: 'batch' })
    expect(checks.at(-1)).toMatchObject({ passed: true, found: expect.stringMatching(/^skipped: the router sees/) })
  }, 120_000)

  test('a router that keeps something from one call to the next', async () => {
    let calls = 0
    const counting = (logits: Tensor) => multiply(logits, 1 + 0.01 * calls++)
    expect(failures(await found({ choose: topKOf(counting) }))).toMatch(
      /a training has the same bits on one rank and on two: the loss of step 1 differs/,
    )
  }, 60_000)
})

describe('what choose returns in another shape is refused by name', () => {
  test.each<[string, Partial<Record<keyof Choice, unknown>>, RegExp]>([
    [
      'gate_TK',
      { gate_TK: undefined },
      /router test: choose returned gate_TK as undefined \(expected a tensor float32/,
    ],
    [
      'expert_TK',
      { expert_TK: constant([1], 'int32') },
      /expert_TK as int32 \[1\] \(expected a tensor int32 \[15,1\]\)/,
    ],
    ['losses', { losses: { balance: constant(1, 'float32') } }, /losses\.z as no scalar/],
    ['logits_TZN', { logits_TZN: undefined }, /choose returned logits_TZN as undefined/],
  ])('%s', async (_, wrong, message) => {
    const change = (choice: Choice) => ({ ...choice, ...wrong }) as Choice
    await expect(found({ choose: topKOf((logits) => logits, change) })).rejects.toThrow(message)
  })

  test('an error of an op', async () => {
    const change = (choice: Choice) => ({ ...choice, gate_TK: reshape(choice.gate_TK, [7]) })
    await expect(found({ choose: topKOf((logits) => logits, change) })).rejects.toThrow(
      /^router test: choose: reshape of/,
    )
  })

  test('parameters', async () => {
    const odd = () => ({ weight: { shape: [0], init: 'normal' as const } })
    await expect(found({ parameters: odd, choose: topKOf((l) => l) })).rejects.toThrow(
      /parameter weight has the shape \[0\]/,
    )
    const bias = () => ({ bias: { shape: [4], init: 'zeros' as const } })
    await expect(found({ parameters: bias, choose: topKOf((l) => l) })).rejects.toThrow(/invalid parameter "bias"/)
  })
})
