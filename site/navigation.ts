/**
 * How a visitor gets from page to page: the list at the side, which has the sections of docs/README.md, the other
 * documents and the API reference; and the links and the switch of colours at the top.
 */
import {
  DefaultTheme,
  DefaultThemeRenderContext,
  type DocumentReflection,
  JSX,
  type NavigationElement,
  type PageEvent,
  type ProjectReflection,
  type Reflection,
} from 'typedoc'
import { pathOf } from './pages.ts'

interface Section {
  readonly title: string
  /** Paths of pages, relative to the repository. */
  readonly pages: readonly string[]
}

/** The sections of docs/README.md that link to pages beside it; a page is in the first one that links to it. */
export function sectionsOf(guide: string): Section[] {
  const seen = new Set<string>()
  const sections = guide.split(/^## /m).slice(1)
  return sections.flatMap((text) => {
    const [title = ''] = text.split('\n', 1)
    const links = [...text.matchAll(/\]\(([a-z-]+\.md)(?:#[^)]*)?\)/g)].map(([, file]) => `docs/${file}`)
    const pages = [...new Set(links)].filter((page) => !seen.has(page))
    for (const page of pages) seen.add(page)
    return pages.length > 0 ? [{ title, pages }] : []
  })
}

/** Links at the top of every page. */
const doors = [
  ['Documentation', 'docs/index.html'],
  ['Six lessons', 'm6t.html'],
  ['Routing', 'docs/routing.html'],
  ['Play', 'play/index.html'],
] as const

/** The element with this attribute inside an element. */
function within(element: JSX.Children, attribute: 'id' | 'class', value: string): JSX.Element {
  const find = (inside: JSX.Children): JSX.Element | undefined => {
    if (Array.isArray(inside)) return inside.map(find).find((found) => found !== undefined)
    if (typeof inside !== 'object' || inside === null || !('tag' in inside)) return undefined
    return Object(inside.props)[attribute] === value ? inside : find(inside.children)
  }
  const found = find(element)
  if (!found) throw new Error(`internal: pages of TypeDoc have no element of ${attribute} ${value}`)
  return found
}

class Context extends DefaultThemeRenderContext {
  constructor(...parts: ConstructorParameters<typeof DefaultThemeRenderContext>) {
    super(...parts)
    const { toolbar, defaultLayout } = this
    this.toolbar = (page) => {
      const drawn = toolbar(page)
      within(drawn, 'id', 'tsd-toolbar-links').children = [
        ...doors.map(([text, path]) => JSX.createElement('a', { href: this.relativeURL(path) ?? path }, text)),
        JSX.createElement('button', { id: 'site-colours', type: 'button', hidden: true }, 'Colours'),
      ]
      return drawn
    }
    // Landmarks, by which screen readers move.
    this.defaultLayout = (template, page) => {
      const drawn = defaultLayout(template, page)
      within(drawn, 'class', 'col-content').tag = 'main'
      within(drawn, 'class', 'col-sidebar').tag = 'aside'
      return drawn
    }
  }
}

/** A link cannot be in the line that folds a list away. So a module with members is the first entry of its own list. */
const foldable = ({ path, children, ...element }: NavigationElement): NavigationElement =>
  children && path !== undefined
    ? { text: element.text, children: [{ text: 'Overview', path }, ...children.map(foldable)] }
    : { ...element, ...(path !== undefined && { path }), ...(children && { children: children.map(foldable) }) }

/** The theme whose list of pages has these sections. */
export const themeWith = (root: string, sections: readonly Section[]) =>
  class extends DefaultTheme {
    override getRenderContext(page: PageEvent<Reflection>): DefaultThemeRenderContext {
      return new Context(this.router, this, page, this.application.options)
    }
    override buildNavigation(project: ProjectReflection): NavigationElement[] {
      const documents = new Map((project.documents ?? []).map((document) => [pathOf(root, document), document]))
      const element = (document: DocumentReflection): NavigationElement => ({
        text: document.name,
        path: this.router.getFullUrl(document),
      })
      const found = (paths: readonly string[]) =>
        paths.flatMap((path) => {
          const document = documents.get(path)
          return document ? [element(document)] : []
        })
      const under = (folder: string) => found([...documents.keys()].filter((path) => path.startsWith(folder)))
      const reference = super
        .buildNavigation(project)
        .filter(({ path }) => path?.startsWith('api/'))
        .map(foldable)
      return [
        ...found(['docs/README.md', 'site/m6t.md']),
        ...sections.map(({ title, pages }) => ({ text: title, children: found(pages) })),
        { text: 'Architecture in parts', children: under('docs/architecture/') },
        { text: 'API reference', children: reference },
        { text: 'Results', children: under('docs/results/').filter(({ path }) => path?.endsWith('report.html')) },
        { text: 'Project', children: found(['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md']) },
      ]
    }
  }
