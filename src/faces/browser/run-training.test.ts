import { expect, test } from 'vitest'
import { runTraining } from './run-training.ts'

test('a wrong option is refused by its name, before the first step', async () => {
  const refusal = (options: unknown) =>
    runTraining({ config: null } as never, options as never).catch((error: Error) => error.message)
  expect(await refusal({ onevent: () => {} })).toMatch(/^unknown field onevent.*did you mean "onEvent"\?/)
  expect(await refusal({ store: 'opfs' })).toBe('invalid store: "opfs" (expected a store, or null)')
  expect(await refusal({ signal: true })).toBe('invalid signal: true (expected an AbortSignal)')
  expect(await refusal(null)).toBe('invalid options of runTraining: null (expected an object)')
})
