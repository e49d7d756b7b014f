/**
 * Runs before every test file. A warning of Node (leaked listeners, an open file, a deprecated call) fails the
 * current test. CHOIR_TEST_SEED repeats a failed random test, whose report has the seed.
 */
import { afterAll, afterEach } from 'vitest'

const warnings: Error[] = []
const record = (warning: Error) => warnings.push(warning)
process.on('warning', record)

const failOnWarnings = async (): Promise<void> => {
  // Node emits warnings in the next turn of the event loop.
  await new Promise(setImmediate)
  const [warning] = warnings.splice(0)
  if (warning) throw new Error(`Node emitted a warning: ${warning.stack ?? warning.message}`)
}
afterEach(failOnWarnings)
// Warnings may also come after the last test of the file, when its resources are released.
afterAll(async () => {
  await failOnWarnings()
  // Some files share a process.
  process.off('warning', record)
})

const seed = process.env.CHOIR_TEST_SEED
if (seed !== undefined) (await import('fast-check')).configureGlobal({ seed: Number(seed) })
