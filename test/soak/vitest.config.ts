/** The tests of `npm run soak`: the tests of fuzzing with more cases, and the kills. */
import { defineConfig } from 'vitest/config'
import suite from '../../vitest.config.ts'

export default defineConfig((environment) => ({
  test: {
    ...suite(environment).test,
    include: ['test/fuzz/*.test.ts', 'test/soak/*.soak.ts'],
    // A test may take a day, since it ends by its number of cases.
    testTimeout: 86_400_000,
  },
}))
