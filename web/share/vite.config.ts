/**
 * Builds the page of `choir watch --share` into dist/share: one document without other files, into which the command
 * puts the data of a run.
 */
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'
import { singleFile } from './single-file.ts'

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: './',
  plugins: [singleFile()],
  build: {
    outDir: '../../dist/share',
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    assetsInlineLimit: Number.MAX_SAFE_INTEGER,
    license: { fileName: 'licenses.md' },
  },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
})
