/**
 * How tests run. A test file gets a process of its own: native libraries cannot be unloaded from a
 * thread, and a crash of one then fails one file, by name, instead of all.
 */
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'web/**/*.test.ts', 'test/**/*.test.ts', 'bench/**/*.test.ts'],
    reporters: ['default', './test/support/time-by-file.ts'],
    globalSetup: ['test/support/built.ts'],
    setupFiles: ['test/support/setup.ts'],
    pool: 'forks',
    // Two cores are busy with three: a test that waits for a process or a page leaves its core to another.
    maxWorkers: 3,
    // LLVM compiles shaders for a software GPU in half the time if they use vectors of 128 bits.
    // Threads of OpenMP that wait would take the cores of the other workers.
    env: { LP_NATIVE_VECTOR_WIDTH: '128', OMP_WAIT_POLICY: 'passive' },
    testTimeout: 20_000,
    hookTimeout: 30_000,
    // What is waited for comes at once, but not on a machine that does something else.
    expect: { poll: { timeout: 10_000 } },
    // A test that leaves a mock or a variable of the environment behind changes the next one.
    restoreMocks: true,
    unstubEnvs: true,
    // A suite that runs only a chosen test proves nothing.
    allowOnly: false,
  },
})
