/**
 * Domains of a text: the kinds of documents that its files or folders keep apart. They are read from the names of
 * documents alone, because names are stored with the tokens.
 *
 * Think of the shortest path that tells documents apart. A domain is the first folder after the folders that all
 * documents share, or the file if it has many documents (`kernel.jsonl`). Documents that are files outside such a
 * folder have no domain.
 */

/** Name of the domain for documents without a domain, and for all domains beyond the largest ones. */
export const OTHER = 'other'

/** Ends of document names: the place of a section in its document, and the place of a record in its file. */
const SECTION = /#\d+$/
const RECORD = /(?::(?:row )?\d+|\[\d+\])$/
/** The number of a part of a file that was cut: `web-00001-of-00005`. */
const PART = /[-_.]\d+(?:-of-\d+)?$/

/** The path that a domain is read from, without the place in the file. Folders end with `/`, files of records with `:`. */
export function domainPath(document: string): string {
  const name = document.replace(SECTION, '')
  const file = name.replace(RECORD, '')
  return file === name ? file.slice(0, file.lastIndexOf('/') + 1) : `${file}:`
}

/** The domain of each distinct {@link domainPath} of a text. */
export function domainsOf(paths: Iterable<string>): ReadonlyMap<string, string> {
  const parts = new Map([...paths].map((path) => [path, path.split('/')]))
  const shared = sharedFolders([...parts.values()])
  return new Map([...parts].map(([path, names]) => [path, domainOf(names.slice(shared))]))
}

/**
 * Number of leading folders that all paths share. The last name of a path is a file or empty, so it is not a folder.
 */
function sharedFolders(paths: readonly (readonly string[])[]): number {
  const [first = []] = paths
  let shared = 0
  while (paths.every((names) => shared < names.length - 1 && names[shared] === first[shared])) shared++
  return shared
}

function domainOf([first = '', ...rest]: readonly string[]): string {
  if (rest.length > 0) return first
  if (!first.endsWith(':')) return OTHER
  const name = first.slice(0, -1).replace(/\.gz$/i, '')
  const dot = name.lastIndexOf('.')
  const stem = dot > 0 ? name.slice(0, dot) : name
  return stem.replace(PART, '') || stem
}
