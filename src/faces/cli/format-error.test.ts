/** Options of the library as flags of the command line. */
import { expect, test } from 'vitest'
import { option, RunError, UsageError, wording } from '../../core/errors.ts'
import { RuntimeError } from '../../engine/contract/runtime-error.ts'
import { flagOf, formatError } from './format-error.ts'

test.each([
  [option('sequence'), '--sequence'],
  [option('ranksPerNode'), '--ranks-per-node'],
  [option('format', 'onnx'), '--format onnx'],
  [option('directory'), '--out'],
  [option('data.source', 'PATH'), '--data PATH'],
  [option('runtime.device', 'cpu'), '--device cpu'],
  [option('model.moe.experts', '4'), '--set model.moe.experts=4'],
])('option %j of the library is the flag %s', (given, flag) => {
  expect(flagOf(given)).toBe(flag)
})

test('errors of every kind name flags, also in stack traces', () => {
  const message = wording`invalid ${option('whatIf')}: "x" (expected a path; whatIf is a question)`
  const shown = 'invalid --what-if: "x" (expected a path; whatIf is a question)'
  for (const Kind of [UsageError, RunError, RuntimeError]) {
    expect(formatError(new Kind(message), false)).toBe(shown)
    const [first, second] = formatError(new Kind(message), true).split('\n')
    expect(first).toContain(shown)
    expect(second).toMatch(/^ +at /)
  }
})
