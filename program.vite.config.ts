/**
 * Bundles the program into dist/program: a command then loads some dozens of files instead of hundreds, and starts in
 * about three quarters of the time. Every file that something outside starts or imports (the command line, the library, threads and
 * processes) is an entry of one bundle, so whatever two of them use is one module, as plugins need that import `choir`.
 * TypeScript has written a module for each source into dist/ before; those of the entries are replaced by one line that
 * loads the bundle. The other modules stay for tests and benchmarks, and are not in the package.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig, type Plugin } from 'vite'

/** Sources of the entries, from src/ and without their extension. */
export const entries = [
  'faces/cli/program/process',
  'faces/library/index',
  'faces/library/graph',
  'faces/library/web',
  'faces/library/web-worker',
  'faces/watch/tracing/trace-process',
  'tools/study/runs/job-process',
  'use/runs/chat/worker',
  'node/interrupts/watchdog',
  'node/data/sources/parquet/worker',
  'engine/world/mpi/courier',
  'engine/world/simulated/courier',
  'engine/cpu/staged/worker',
  'engine/cpu/wasm/worker',
]

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const nameOf = (entry: string): string => entry.replaceAll('/', '-')

/** Writes, where the module of an entry was, one that loads the bundle. */
const atTheirPlaces: Plugin = {
  name: 'entries-at-their-places',
  writeBundle() {
    for (const entry of entries) {
      const up = '../'.repeat(entry.split('/').length - 1)
      writeFileSync(path(`dist/${entry}.js`), `export * from '${up}program/${nameOf(entry)}.js'\n`)
    }
  },
}

export default defineConfig({
  plugins: [atTheirPlaces],
  // The schemas of configurations are most of what a command loads, and zod is most of that. Other packages are loaded
  // as they are installed.
  ssr: { noExternal: ['zod'] },
  build: {
    ssr: true,
    outDir: 'dist/program',
    // A training may still load files while its program is built again, so none is removed.
    emptyOutDir: false,
    target: 'es2023',
    sourcemap: true,
    license: { fileName: 'licenses.md' },
    rolldownOptions: {
      // Pages load a part of the bundle, so what all parts share may not need Node.
      platform: 'neutral',
      input: Object.fromEntries(entries.map((entry) => [nameOf(entry), path(`src/${entry}.ts`)])),
      output: {
        entryFileNames: '[name].js',
        chunkFileNames: '[name].js',
        // What every command loads, as one file. Pages load it too, but not what finds files of the package.
        codeSplitting: {
          groups: [{ name: 'core', test: /[\\/]src[\\/]core[\\/](?!package-file)|[\\/]zod[\\/]/ }],
        },
      },
    },
  },
})
