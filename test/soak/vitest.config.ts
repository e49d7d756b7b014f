/** The tests of `npm run soak`: those of fuzzing with more cases, and kills. */
import { defineConfig } from 'vitest/config'
import suite from '../../vitest.config.ts'

export default defineConfig((environment) => ({
  test: {
    ...suite(environment).test,
    include: ['test/fuzz/*.test.ts', 'test/soak/*.soak.ts'],
    // As long as it takes.
    testTimeout: 86_400_000,
  },
}))
