/**
 * Turns HTML into plain text. A page of documentation is an article between menus. The article stays, with its
 * headings, lists and blocks of code on lines of their own; menus, scripts and links to other pages do not.
 */
import { Parser } from 'htmlparser2'
import { LineWriter } from './line-writer.ts'

/** Elements whose contents are not part of the article. */
const droppedTags = new Set(
  (
    'script style noscript template nav form button select textarea object iframe svg canvas audio video map dialog ' +
    'footer head'
  ).split(' '),
)

/** Classes and ids that generators of documentation (Sphinx, DocBook, rustdoc, ...) give to menus and links. */
const droppedNames = new Set(
  (
    'headerlink navheader navfooter sphinxsidebar sphinxsidebarwrapper related toc toctree-wrapper contents ' +
    'docnav editsection printfooter t-navbar navbar breadcrumb breadcrumbs footer skip-link tocset navsettop ' +
    'navsetbottom spirit-nav copyright-footer nav-panel prev-next-area bd-sidebar-primary bd-sidebar-secondary ' +
    'copybutton src srclink anchor navigate quickview preamble-nav up top bottomlang toplang nosearch genindex-jumpbox ' +
    'out-of-band rustdoc-toolbar mw-head mw-panel catlinks column2 toc-title breadcrumb-list sourcelink top-link ' +
    'search-container blanket-implementations-list synthetic-implementations-list blanket-implementations ' +
    'synthetic-implementations katex-html navigation nav-wrapper versionlist mark hideme heading-anchor button-group ' +
    'siteSub contentSub view-source detail-link icon-action picker-header picker heading-source gtoc ebook header viewcode-link since rightside t-example-live-link banner'
  ).split(' '),
)

const droppedRoles = new Set(['navigation', 'search', 'banner', 'contentinfo'])

/** Ids that pages give to the article if it is not `<main>`. */
const mainIds = new Set(['main-content', 'content', 'page-content', 'apicontent', 'DisplayArea'])

const voidTags = new Set('area base br col embed hr img input link meta source track wbr'.split(' '))

/** Line breaks around elements that are on lines of their own: 2 if blank lines surround them. */
const blocks: Readonly<Record<string, 1 | 2>> = Object.fromEntries([
  ...'p pre h1 h2 h3 h4 h5 h6 table ul ol dl blockquote section article figure header main hr'
    .split(' ')
    .map((tag) => [tag, 2] as const),
  ...'div li tr dt dd caption thead tbody tfoot figcaption address details summary center legend fieldset aside'
    .split(' ')
    .map((tag) => [tag, 1] as const),
])

/** The text of the article of a page, or of the whole page if no element is known as the article. */
export function htmlText(html: string): string {
  const whole = new LineWriter()
  const main = new LineWriter()
  /** Open elements. */
  const open: { readonly tag: string; readonly drops: boolean; readonly isMain: boolean }[] = []
  let dropped = 0
  let inMain = 0
  let pre = 0
  /** Number of the next item in each open list; NaN for bullets. */
  const lists: number[] = []
  const each = (act: (writer: LineWriter) => void): void => {
    act(whole)
    if (inMain > 0) act(main)
  }
  const close = (): void => {
    const element = open.pop()
    if (!element) return
    const { tag, drops, isMain } = element
    if (drops) {
      dropped--
      return
    }
    if (dropped > 0) return
    if (tag === 'pre') pre--
    if (tag === 'ul' || tag === 'ol') lists.pop()
    const lines = blocks[tag]
    // Lists in a list, and the blocks of an item, stay together.
    if (lines) each((writer) => writer.breakLine(lines === 2 && lists.length > 0 && tag !== 'pre' ? 1 : lines))
    if (isMain) inMain--
  }
  const parser = new Parser(
    {
      onopentag(tag, attributes) {
        if (voidTags.has(tag)) {
          if (dropped === 0 && (tag === 'br' || tag === 'hr')) each((writer) => writer.breakLine(1))
          return
        }
        const drops = isDropped(tag, attributes)
        const isMain = tag === 'main' || attributes.role === 'main' || mainIds.has(attributes.id ?? '')
        if (drops) dropped++
        else if (dropped === 0) {
          if (isMain) inMain++
          if (tag === 'pre') pre++
          const lines = blocks[tag]
          if (lines) each((writer) => writer.breakLine(lines === 2 && lists.length > 0 && tag !== 'pre' ? 1 : lines))
          // Sphinx separates a name from its type by a style sheet.
          if (attributes.class === 'classifier') each((writer) => writer.words(' : '))
          if (tag === 'ul') lists.push(Number.NaN)
          if (tag === 'ol') lists.push(Number.parseInt(attributes.start ?? '', 10) || 1)
          const marker = tag === 'li' ? item() : ''
          if (marker !== '') each((writer) => writer.prefix(marker))
          if (tag === 'td' || tag === 'th') each((writer) => writer.gap())
        }
        open.push({ tag, drops, isMain: isMain && !drops && dropped === 0 })
      },
      ontext(text) {
        if (dropped > 0) return
        each((writer) => (pre > 0 ? writer.verbatim(text) : writer.words(text)))
      },
      onclosetag(tag) {
        if (!voidTags.has(tag)) close()
      },
    },
    { decodeEntities: true },
  )
  function item(): string {
    const depth = lists.length - 1
    const number = lists[depth] ?? Number.NaN
    if (depth >= 0) lists[depth] = number + 1
    return `${'  '.repeat(Math.max(0, depth))}${Number.isNaN(number) ? '-' : `${number}.`} `
  }
  parser.write(html)
  parser.end()
  return main.text() || whole.text()
}

function isDropped(tag: string, { class: classes, id, role, hidden, ...others }: Record<string, string>): boolean {
  if (droppedTags.has(tag) || hidden !== undefined || others['aria-hidden'] === 'true') return true
  if (role !== undefined && droppedRoles.has(role)) return true
  // Classes of the body are ignored, since a page may give it any class.
  if (tag === 'body' || tag === 'html') return false
  return (
    (id !== undefined && droppedNames.has(id)) ||
    (classes?.split(/\s+/).some((name) => droppedNames.has(name)) ?? false)
  )
}
