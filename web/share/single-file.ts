/**
 * Puts the script and the style sheet of a page into its document, and a content security policy that permits exactly
 * these two: the page can load nothing, and no text in it can become code. The licenses of the packages in the script,
 * which ask for this, are in a comment at the end.
 */
import { createHash } from 'node:crypto'
import type { Plugin } from 'vite'

export const singleFile = (): Plugin => ({
  name: 'single-file',
  enforce: 'post',
  // After Vite has written the licenses.
  generateBundle: {
    order: 'post',
    handler(_, bundle) {
      const files = Object.values(bundle)
      const page = files.find(({ fileName }) => fileName === 'index.html')
      const script = files.find((file) => file.type === 'chunk' && file.isEntry)
      const style = files.find(({ fileName }) => fileName.endsWith('.css'))
      const licenses = files.find(({ fileName }) => fileName === 'licenses.md')
      if (page?.type !== 'asset' || script?.type !== 'chunk' || style?.type !== 'asset' || licenses?.type !== 'asset')
        throw new Error('the shared page is not one document, one script, one style sheet and its licenses')
      // A script ends at the first `</script`; inside strings, a backslash changes nothing.
      const code = script.code.replaceAll('</script', '<\\/script')
      const css = String(style.source)
      if (css.includes('</style')) throw new Error('the style sheet would end its element')
      const comment = String(licenses.source)
      if (comment.includes('--')) throw new Error('the licenses would end their comment')
      const policy = `default-src 'none'; script-src ${hashOf(code)}; style-src ${hashOf(css)}; img-src data: blob:; base-uri 'none'; form-action 'none'`
      page.source = String(page.source)
        .replace(/\s*<script type="module"[^>]*><\/script>/, '')
        .replace(/\s*<link rel="stylesheet"[^>]*>/, '')
        .replace(
          /<meta charset="utf-8">/,
          (charset) => `${charset}\n    <meta http-equiv="Content-Security-Policy" content="${policy}">`,
        )
        .replace('</head>', () => `<style>${css}</style>\n  </head>`)
        .replace('</body>', () => `<script type="module">${code}</script>\n    <!--\n${comment}\n-->\n  </body>`)
      for (const { fileName } of files) if (fileName !== 'index.html') delete bundle[fileName]
    },
  },
})

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`
