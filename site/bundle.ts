/** Builds the scripts of pages into the built site, beside the pages of TypeDoc: `front/front.js` and `front/front.css`. */
import { fileURLToPath } from 'node:url'
import { build, type InlineConfig } from 'vite'

/** @param name The folder in site/ with main.tsx, and the name of what is built */
export async function bundle(name: string): Promise<void> {
  const root = fileURLToPath(new URL(`./${name}/`, import.meta.url))
  const config: InlineConfig = {
    root,
    configFile: false,
    base: './',
    logLevel: 'warn',
    build: {
      outDir: `../dist/${name}`,
      emptyOutDir: true,
      target: 'es2022',
      modulePreload: { polyfill: false },
      rolldownOptions: {
        input: `${root}main.tsx`,
        output: { entryFileNames: `${name}.js`, assetFileNames: `${name}[extname]` },
      },
    },
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  }
  await build(config)
}
