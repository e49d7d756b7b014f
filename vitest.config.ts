/**
 * How tests run. A test file gets a process of its own: native libraries cannot be unloaded from a
 * thread, and a crash of one then fails one file, by name, instead of all.
 *
 * Files whose first comment has `@slow` are left out with `--mode main` (`npm test`), and run alone with `--mode slow`.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { configDefaults, defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Files that start programs or compile for a GPU are long. They come first, and no worker has one left at the end. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isLong = ({ moduleId }: TestSpecification) => /\/test\/(?:end-to-end\/|webgpu)/.test(moduleId)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}

const folders = ['src', 'web', 'test', 'bench']

/** Test files that carry `@slow`, as paths with slashes. */
const slowFiles = (): string[] =>
  folders
    .flatMap((folder) => readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((path) => join(folder, path)))
    .filter((path) => path.endsWith('.test.ts') && /^\/\*\*(?:(?!\*\/).)*@slow\b/s.test(readFileSync(path, 'utf8')))
    .map((path) => path.replaceAll(sep, '/'))

const preloaded = fileURLToPath(new URL('test/support/compile-late.cjs', import.meta.url))

export default defineConfig(({ mode }) => ({
  test: {
    include: mode === 'slow' ? slowFiles() : folders.map((folder) => `${folder}/**/*.test.ts`),
    exclude: [...configDefaults.exclude, ...(mode === 'main' ? slowFiles() : [])],
    reporters: ['default', './test/support/time-by-file.ts'],
    globalSetup: ['test/support/built.ts'],
    setupFiles: ['test/support/setup.ts'],
    pool: 'forks',
    execArgv: ['--require', preloaded],
    sequence: { sequencer: LongFirst },
    // Two cores are busy with three: a test that waits for a process or a page leaves its core to another.
    maxWorkers: 3,
    // LLVM compiles shaders for a software GPU in half the time for vectors of 128 bits without optimisations.
    // Threads of OpenMP that wait would take the cores of the other workers. Programs that tests start inherit all.
    env: {
      LP_NATIVE_VECTOR_WIDTH: '128',
      GALLIVM_PERF: 'nopt',
      OMP_WAIT_POLICY: 'passive',
      NODE_OPTIONS: `--require ${JSON.stringify(preloaded)}`,
    },
    // What is waited for comes at once, but not on a machine that does something else.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 20_000 } },
    // A test that leaves a mock or a variable of the environment behind changes the next one.
    restoreMocks: true,
    unstubEnvs: true,
    // A suite that runs only a chosen test proves nothing.
    allowOnly: false,
  },
}))
