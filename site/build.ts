/**
 * Builds the site of the documentation into site/dist: `npm run site`. The pages are the Markdown of the repository and
 * the API reference, by TypeDoc; Vite builds the scripts of the front page and of the article, and the page of `choir play`, beside them. A
 * link that leads nowhere fails the build.
 *
 *   npm run site                 builds, and checks the links
 *   npm run site -- --serve      builds, and serves the site on localhost
 */
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Application, JSX } from 'typedoc'
import { build, preview } from 'vite'
import { findingsInResults } from '../bench/studies/findings/pictures.ts'
import { figuresOf, partOf } from './article/findings.ts'
import { bundle } from './bundle.ts'
import { deadLinks } from './links.ts'
import { asOnGitHub } from './markdown.ts'
import { sectionsOf, themeWith } from './navigation.ts'
import { definePages } from './pages.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const here = fileURLToPath(new URL('./', import.meta.url))
const out = `${here}dist`
/** Folders in site/ with a script, and the pages that have it. */
const scripts = [
  ['front', 'index.html'],
  ['article', 'm6t.html'],
] as const

/** Renders all pages. @returns Whether TypeDoc had nothing to warn of */
async function renderPages(): Promise<boolean> {
  const app = await Application.bootstrapWithPlugins({
    options: `${here}typedoc.json`,
    markdownItLoader: asOnGitHub,
    ...{ theme: 'choir', router: 'path', out },
  })
  const { claims } = await findingsInResults()
  definePages(app, root, (kind, name) => partOf(kind, name, claims))
  app.renderer.defineTheme('choir', themeWith(root, sectionsOf(await readFile(`${root}docs/README.md`, 'utf8'))))
  app.renderer.hooks.on('head.end', ({ page }) => {
    const name = scripts.find(([, url]) => url === page.url)?.[0]
    return name === undefined
      ? JSX.createElement(JSX.Fragment, null)
      : JSX.createElement(
          JSX.Fragment,
          null,
          JSX.createElement('link', { rel: 'stylesheet', href: `${name}/${name}.css` }),
          JSX.createElement('script', { type: 'module', src: `${name}/${name}.js` }),
        )
  })
  const project = await app.convert()
  if (!project) return false
  app.validate(project)
  await app.generateOutputs(project)
  // TypeDoc has emptied the folder, and bundles are beside the figures.
  for (const [name] of scripts) await bundle(name)
  for (const { file, svg } of figuresOf(claims)) await writeFile(`${out}/article/${file}`, svg)
  return !app.logger.hasErrors() && !app.logger.hasWarnings()
}

process.chdir(root)
if (!(await renderPages())) process.exit(1)
await build({ configFile: `${root}web/play/vite.config.ts`, build: { outDir: `${out}/play` }, logLevel: 'warn' })
const dead = await deadLinks(out, 'play/')
for (const link of dead) console.error(`site: dead link: ${link}`)
if (dead.length > 0) process.exit(1)
console.log('site: built into site/dist')
if (process.argv.includes('--serve')) {
  const server = await preview({ root: here, configFile: false })
  server.printUrls()
}
