/**
 * Builds the page into dist/play: static files for any web server, in any folder of it, that load nothing from other
 * servers.
 */
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'
import { routingGuide } from './build/routing-guide.ts'
import { speechesFile } from './build/speeches-file.ts'

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: './',
  plugins: [routingGuide(), speechesFile()],
  worker: { format: 'es' },
  build: {
    outDir: '../../dist/play',
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    license: { fileName: 'licenses.md' },
  },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
})
