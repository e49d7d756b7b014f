/** Markdown of the documentation as GitHub shows it, where TypeDoc's parser differs. */
import type MarkdownIt from 'markdown-it'

export function asOnGitHub(parser: InstanceType<typeof MarkdownIt>): void {
  parser.core.ruler.push('as-on-github', ({ tokens }) => {
    for (const [at, token] of tokens.entries()) {
      // TypeDoc makes the anchor and the name of a heading from its text alone: `top-k` would have none.
      if (token.type === 'heading_open')
        for (const part of tokens[at + 1]?.children ?? []) if (part.type === 'code_inline') part.type = 'text'
      // An indented block is a command or its output. With a language it gets the button that copies it.
      if (token.type === 'code_block') Object.assign(token, { type: 'fence', info: 'text' })
      // A table without names of columns has no header.
      if (token.type === 'th_open' && tokens[at + 1]?.content === '') token.tag = 'td'
      if (token.type === 'th_close' && tokens[at - 1]?.content === '') token.tag = 'td'
      if (token.type === 'fence' && token.info === '') token.info = 'text'
    }
  })
  // A table wider than the window scrolls in a box of its own, by keys too.
  parser.renderer.rules.table_open = () => '<div class="table" role="group" aria-label="Table" tabindex="0"><table>\n'
  parser.renderer.rules.table_close = () => '</table></div>\n'
}
