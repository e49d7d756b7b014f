/**
 * How tests run. A test file gets a process of its own: native libraries cannot be unloaded from a
 * thread, and a crash of one then fails one file, by name, instead of all. Only files that compute without a runtime
 * share processes, since half of their time would be the start of a process and its imports.
 *
 * Files whose first comment has `@slow` are left out with `--mode main` (`npm test`), and run alone with `--mode slow`.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Files that start programs or compile for a GPU are long. They come first, and no worker has one left at the end. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isLong = ({ moduleId }: TestSpecification) => /\/test\/(?:end-to-end\/|webgpu)/.test(moduleId)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}

/** All test files, as paths with slashes. */
const files: readonly string[] = ['src', 'web', 'site', 'test', 'bench']
  .flatMap((folder) => readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((path) => join(folder, path)))
  .filter((path) => path.endsWith('.test.ts'))
  .map((path) => path.replaceAll(sep, '/'))

/** Whether the first comment of a file has `@slow`. */
const isSlow = (path: string): boolean => /^\/\*\*(?:(?!\*\/).)*@slow\b/s.test(readFileSync(path, 'utf8'))

/** Tests in these folders compute without a runtime, a worker or a program, but for some files. */
const pure = [
  'src/core',
  'src/faces/cli/display',
  'src/tools/plan',
  'src/tools/report',
  'src/tools/study/analysis',
  'web/src',
]
const impure = [
  'src/core/graph/options.test.ts',
  'src/core/graph/own-op.test.ts',
  'src/core/graph/ops/stop-gradient.test.ts',
  'src/core/model/own/layer.test.ts',
  'web/src/curves/drawing/painter.test.ts',
  'web/src/curves/series-loader.test.ts',
]
const isPure = (path: string): boolean => pure.some((folder) => path.startsWith(`${folder}/`)) && !impure.includes(path)

/** The files of a mode that have processes of their own, and the files that share processes. */
function projectsOf(mode: string) {
  const chosen = files.filter((path) => mode === 'test' || isSlow(path) === (mode === 'slow'))
  const own = { name: 'own', include: chosen.filter((path) => !isPure(path)) }
  const shared = { name: 'shared', include: chosen.filter(isPure), isolate: false }
  return [own, shared].map((test) => ({ extends: true as const, test }))
}

const preloaded = fileURLToPath(new URL('test/support/compile-late.cjs', import.meta.url))

export default defineConfig(({ mode }) => ({
  test: {
    projects: projectsOf(mode),
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
