/** The form of a recipe: which documents of which packages belong to a corpus. The recipes are in recipes.ts. */

/** Markup of a file. A `dictionary` is a database of dictd: many short entries in one file. */
export type Markup = 'html' | 'text' | 'man' | 'pod' | 'dictionary'

/** Documents of one package that go into one file of the corpus. */
export interface Part {
  /** Name of the package. `*` stands for a version, of which the newest that is there is read. */
  readonly package: string
  /**
   * Files of the package (in its archive, if it has one) that are documents, by their paths without a leading slash.
   */
  readonly files: RegExp
  readonly except?: RegExp
  readonly markup: Markup
  /** Whether the documents are code. Code repeats short paragraphs, so only longer ones are left out as repetitions. */
  readonly isCode?: true
  /** Name of the file of the corpus, without its ending. */
  readonly domain: string
  /** Share of the documents that is taken, from 0 to 1, by hashes of their names; default: all of them. */
  readonly share?: number
  /** A tar archive in the package that holds the files. */
  readonly archive?: Archive
}

export interface Archive {
  readonly file: RegExp
  /** Members that are unpacked, as patterns of GNU tar. */
  readonly members: readonly string[]
}

export interface Recipe {
  readonly name: string
  /** Number that is increased when the same packages give another text, by other parts or another way to clean them. */
  readonly version: number
  readonly about: string
  readonly parts: readonly Part[]
}

/** A package as recipes.ts lists it. */
export interface PackageNote {
  /** Name of the package in Debian 13, if the recipe has `*` in it. */
  readonly known?: string
  readonly licence: string
}

/** The packages of a recipe, each once, in the order of its parts. */
export const packagesOf = (recipe: Recipe): string[] => [...new Set(recipe.parts.map((part) => part.package))]

/** Whether a name is the package of a recipe, in any version. */
export function matchesPackage(pattern: string, name: string): boolean {
  return name === pattern || versionIn(pattern, name) !== undefined
}

/** Version at the place of the `*`, such as [6, 12] in `linux-source-6.12`; undefined if the name does not match. */
function versionIn(pattern: string, name: string): number[] | undefined {
  const [before = '', after] = pattern.split('*')
  if (after === undefined) return name === pattern ? [] : undefined
  const middle =
    name.startsWith(before) && name.endsWith(after) ? name.slice(before.length, name.length - after.length) : ''
  return /^\d+(\.\d+)*$/.test(middle) ? middle.split('.').map(Number) : undefined
}

/** The name with the newest version among the names that a pattern matches. */
export function newestMatch(pattern: string, names: Iterable<string>): string | undefined {
  let best: { name: string; version: number[] } | undefined
  for (const name of names) {
    const version = versionIn(pattern, name)
    if (version && (!best || isNewer(version, best.version))) best = { name, version }
  }
  return best?.name
}

function isNewer(a: readonly number[], b: readonly number[]): boolean {
  for (let i = 0; i < Math.max(a.length, b.length); i++)
    if ((a[i] ?? -1) !== (b[i] ?? -1)) return (a[i] ?? -1) > (b[i] ?? -1)
  return false
}
