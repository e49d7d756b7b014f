/**
 * Puts the script and the style sheet of a page into its document, and a content security policy that permits exactly
 * these two: the page can load nothing, and no text in it can become code.
 */
import { createHash } from 'node:crypto'
import type { Plugin } from 'vite'

export const singleFile = (): Plugin => ({
  name: 'single-file',
  enforce: 'post',
  generateBundle(_, bundle) {
    const files = Object.values(bundle)
    const page = files.find(({ fileName }) => fileName === 'index.html')
    const script = files.find((file) => file.type === 'chunk' && file.isEntry)
    const style = files.find(({ fileName }) => fileName.endsWith('.css'))
    if (page?.type !== 'asset' || script?.type !== 'chunk' || style?.type !== 'asset')
      throw new Error('the shared page is not one document, one script and one style sheet')
    // A script ends at the first `</script`; inside strings, a backslash changes nothing.
    const code = script.code.replaceAll('</script', '<\\/script')
    const css = String(style.source)
    if (css.includes('</style')) throw new Error('the style sheet would end its element')
    const policy = `default-src 'none'; script-src ${hashOf(code)}; style-src ${hashOf(css)}; img-src data: blob:; base-uri 'none'; form-action 'none'`
    page.source = String(page.source)
      .replace(/\s*<script type="module"[^>]*><\/script>/, '')
      .replace(/\s*<link rel="stylesheet"[^>]*>/, '')
      .replace(
        /<meta charset="utf-8">/,
        (charset) => `${charset}\n    <meta http-equiv="Content-Security-Policy" content="${policy}">`,
      )
      .replace('</head>', () => `<style>${css}</style>\n  </head>`)
      .replace('</body>', () => `<script type="module">${code}</script>\n  </body>`)
    for (const { fileName } of files) if (fileName !== 'index.html') delete bundle[fileName]
  },
})

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`
