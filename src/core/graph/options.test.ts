import { expect, test } from 'vitest'
import { createRuntime } from '../../faces/library/graph.ts'
import { UsageError } from '../errors.ts'
import * as graph from './ops/public.ts'

const x = graph.input('x', 'float32', [2, 2])

test.each<[string, () => unknown, RegExp]>([
  ['sum', () => graph.sum(x, { keepdims: true } as never), /^unknown field keepdims .*did you mean "keepDims"\?/],
  ['mean', () => graph.mean(x, { axis: [0] } as never), /^unknown field axis .*accepted: axes, keepDims/],
  ['max', () => graph.max(x, { dims: [0] } as never), /^unknown field dims in options of sum, mean and max/],
  ['sum', () => graph.sum(x, [0] as never), /^invalid options of sum, mean and max: \[0\] \(expected an object\)/],
  ['matmul', () => graph.matmul(x, x, { transposeb: true } as never), /^unknown field transposeb .*"transposeB"\?/],
  ['matmul', () => graph.matmul(x, x, null as never), /^invalid options of matmul: null/],
  [
    'cumulativeSum',
    () => graph.cumulativeSum(x, 0, { exclusiv: true } as never),
    /^unknown field exclusiv .*"exclusive"/,
  ],
])('an unknown option of %s is refused by its name, case %#', (_, call, message) => {
  expect(call).toThrow(message)
  expect(call).toThrow(UsageError)
})

test('so is an unknown option of compile, and a tensor in place of options is not written out', async () => {
  const runtime = await createRuntime({ threads: 1 })
  const program = { outputs: { y: graph.square(x) } }
  await expect(runtime.compile(program, { profile: true } as never)).rejects.toThrow(
    'unknown field profile in options of compile (accepted: portsInside)',
  )
  await runtime.close()
  let deep = x
  for (let i = 0; i < 100; i++) deep = graph.add(deep, deep)
  expect(() => graph.sum(x, deep as never)).toThrow(/^unknown field dtype in options of sum/)
})
