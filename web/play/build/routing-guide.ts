/** Builds docs/routing.md into a page of its own beside the page. The lessons link to its sections. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import MarkdownIt from 'markdown-it'
import type { Plugin } from 'vite'

const source = fileURLToPath(new URL('../../../docs/routing.md', import.meta.url))

export const routingGuide = (): Plugin => ({
  name: 'routing-guide',
  apply: 'build',
  async generateBundle() {
    const markdown = await readFile(source, 'utf8')
    this.emitFile({ type: 'asset', fileName: 'routing.html', source: pageOf(markdown) })
  },
})

/** Sections have the ids that links in Markdown expect: lower case, words joined by hyphens. */
const sectionId = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s-]/gu, '')
    .trim()
    .replace(/\s+/g, '-')

function pageOf(markdown: string): string {
  const renderer = new MarkdownIt()
  renderer.renderer.rules.heading_open = (tokens, index) => {
    const { tag } = tokens[index] as { tag: string }
    return `<${tag} id="${sectionId(tokens[index + 1]?.content ?? '')}">`
  }
  // Links to other guides become plain text, because those guides are not part of the page; neither are pictures, which
  // the page itself trains.
  const text = markdown
    .replace(/<picture>.*?<\/picture>\s+\*.*?\*\n/s, '')
    .replace(/\[([^\]]+)\]\((?!#|https?:)[^)]*\)/g, '$1')
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Routing - Choir</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="./routing.css"></head><body>
${renderer.render(text)}</body></html>
`
}
