/**
 * Runs before every test file. A warning of Node (a leak of listeners, a file that was left open, a
 * deprecated call) fails the test in which it comes; and CHOIR_TEST_SEED repeats a failure of a random
 * test, whose report names its seed.
 */
import { afterAll, afterEach } from 'vitest'

const warnings: Error[] = []
process.on('warning', (warning) => warnings.push(warning))

const failOnWarnings = async (): Promise<void> => {
  // Node tells a warning in the next turn.
  await new Promise(setImmediate)
  const [warning] = warnings.splice(0)
  if (warning) throw new Error(`a warning of Node: ${warning.stack ?? warning.message}`)
}
afterEach(failOnWarnings)
// What comes after the last test of the file, when its resources are released.
afterAll(failOnWarnings)

const seed = process.env.CHOIR_TEST_SEED
if (seed !== undefined) (await import('fast-check')).configureGlobal({ seed: Number(seed) })
