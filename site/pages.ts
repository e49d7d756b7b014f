/**
 * The pages of the site, as TypeDoc sees them: documents whose names are their headings, and whose addresses are their
 * paths in the repository. TypeDoc renders Markdown and the API reference, searches both and checks their links. A file
 * that a page links to and that is not Markdown, such as an example in TypeScript, becomes a page that shows it.
 */
import { readFileSync } from 'node:fs'
import { basename, extname, relative } from 'node:path'
import {
  type Application,
  type CommentDisplayPart,
  Converter,
  DocumentReflection,
  KindRouter,
  type NormalizedPath,
  normalizePath,
  type ProjectReflection,
  type Reflection,
} from 'typedoc'

/** Languages of linked text files; other files, such as pictures, stay files. */
const languages: Readonly<Record<string, string>> = {
  '.ts': 'ts',
  '.js': 'js',
  '.json': 'json',
  '.yaml': 'yaml',
  '.py': 'python',
}

/** Path of the file of a document, relative to the repository. */
export function pathOf(root: string, document: DocumentReflection): string {
  const path = document.project.files.getReflectionPath(document)
  if (path === undefined) throw new Error(`internal: the page ${document.name} has no file`)
  return normalizePath(relative(root, path))
}

const isOfSite = (root: string, document: DocumentReflection): boolean => pathOf(root, document).startsWith('site/')

/** A comment in a document in place of which something is put that is made when the site is built. */
const comment = /<!-- (\S+) (.+?) -->/g

/**
 * Names of documents, parts that are made from results, and pages for linked files.
 * @param partOf HTML for a comment `<!-- kind name -->` of a document in site/
 */
export function definePages(app: Application, root: string, partOf: (kind: string, name: string) => string): void {
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_, document) => {
    const text = document.content.map((part) => part.text).join('')
    const file = document.project.files.getReflectionPath(document)
    if (file) document.content = document.content.flatMap((part) => withTarget(part, document, file))
    if (isOfSite(root, document))
      document.content = document.content.map((part) => ({
        ...part,
        text: part.text.replaceAll(comment, (_, kind: string, name: string) => partOf(kind, name)),
      }))
    document.name = (/^# (.+)$/m.exec(text)?.[1] ?? document.name).replaceAll('`', '')
  })
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const path of [...project.files.getMediaPaths()]) addFilePage(project, path)
  })
  class PathRouter extends KindRouter {
    protected override getIdealBaseName(reflection: Reflection): string {
      if (!reflection.isDocument()) return `api/${super.getIdealBaseName(reflection)}`
      return (
        pathOf(root, reflection)
          // Pages that only the site has are beside its front page.
          .replace(/^site\//, '')
          .replace(/(?<=\/)README\.md$/, 'index.md')
          .replace(/\.md$/, '')
      )
    }
  }
  app.renderer.defineRouter('path', PathRouter)
}

/**
 * A link around a picture, `[![...](picture)](target)`: TypeDoc reads the address of the picture alone, and leaves the
 * target as text after it.
 */
function withTarget(
  part: CommentDisplayPart,
  { project }: DocumentReflection,
  file: NormalizedPath,
): CommentDisplayPart[] {
  const target = part.kind === 'text' && /^\)\]\((?!https?:)([^)\s]+)/.exec(part.text)?.[1]
  if (!target) return [part]
  const found = project.files.register(file, normalizePath(target))
  if (!found) return [part]
  return [
    { kind: 'text', text: ')](' },
    { kind: 'relative-link', text: target, target: found.target, targetAnchor: found.anchor },
    { kind: 'text', text: part.text.slice(3 + target.length) },
  ]
}

function addFilePage(project: ProjectReflection, path: string): void {
  const language = languages[extname(path)]
  if (language === undefined) return
  const code = `~~~~${language}\n${readFileSync(path, 'utf8').trimEnd()}\n~~~~`
  const name = basename(path)
  const page = new DocumentReflection(name, project, [{ kind: 'text', text: `# ${name}\n\n${code}` }], {})
  // Otherwise the search would show ten of the many studies and examples with a word before the guide to it.
  page.relevanceBoost = 0.2
  project.addChild(page)
  project.registerReflection(page, undefined, normalizePath(path))
}
