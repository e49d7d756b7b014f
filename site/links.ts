/** Checks the links of the built pages: every one leads to a file of the site, and to an element where it names one. */
import { existsSync, readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Parser } from 'htmlparser2'

interface Page {
  /** Addresses of links, pictures, scripts and style sheets. */
  readonly links: readonly string[]
  readonly ids: ReadonlySet<string>
}

export function readPage(html: string): Page {
  const links: string[] = []
  const ids = new Set<string>()
  const parser = new Parser({
    onopentag(_, { id, href, src, srcset }) {
      if (id !== undefined) ids.add(id)
      for (const link of [href, src, ...(srcset?.split(',').map((part) => part.trim().split(/\s/)[0]) ?? [])])
        if (link !== undefined) links.push(link)
    },
  })
  parser.end(html)
  return { links, ids }
}

/**
 * The links that lead nowhere, as `page: link`.
 * @param folder The built site. Pages in `apart` are built by themselves, and only links to them are checked.
 */
export async function deadLinks(folder: string, apart: string): Promise<string[]> {
  const files = (await readdir(folder, { recursive: true })).map((file) => file.replaceAll('\\', '/'))
  const names = files.filter((file) => file.endsWith('.html') && !file.startsWith(apart))
  const pages = new Map(names.map((name) => [name, readPage(readFileSync(join(folder, name), 'utf8'))]))
  return names.flatMap((name) =>
    [...new Set(pages.get(name)?.links)].filter((link) => isDead(link, name)).map((link) => `${name}: ${link}`),
  )

  function isDead(link: string, from: string): boolean {
    const site = 'http://site/'
    const { href, origin, pathname, hash } = new URL(link, `${site}${from}`)
    if (!href.startsWith(site)) return origin === 'null' && !href.startsWith('data:')
    const path = decodeURIComponent(pathname)
      .slice(1)
      .replace(/(?<=^|\/)$/, 'index.html')
    if (!existsSync(join(folder, path))) return true
    const page = pages.get(path)
    return page !== undefined && hash.length > 1 && !page.ids.has(decodeURIComponent(hash.slice(1)))
  }
}
