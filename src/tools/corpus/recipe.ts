/** The form of a recipe: which documents of which packages belong to a corpus. The recipes are in recipes.ts. */

/** How the text of a file is marked up. `dictionary`: a database of dictd, many short entries in one file. */
export type Markup = 'html' | 'text' | 'man' | 'pod' | 'dictionary'

/** Documents of one package that go into one file of the corpus. */
export interface Part {
  /** Name of the package; `*` is a version, and the newest one that is there is read. */
  readonly package: string
  /** Files of the package (in its archive, if it has one) that are documents, by their paths without a leading slash. */
  readonly files: RegExp
  readonly except?: RegExp
  readonly markup: Markup
  /** Code repeats short paragraphs by its nature, so only longer ones are left out as repetitions. */
  readonly isCode?: true
  /** The file of the corpus, without its ending. */
  readonly domain: string
  /** Which share of the documents is taken, from 0 to 1: those whose names have a small hash. All by default. */
  readonly share?: number
  /** A tar archive in the package that holds the files, and which of its members are unpacked (patterns of GNU tar). */
  readonly archive?: Archive
}

export interface Archive {
  readonly file: RegExp
  readonly members: readonly string[]
}

export interface Recipe {
  readonly name: string
  /** Counts up when the same packages give another text: other parts, or another way to clean them. */
  readonly version: number
  readonly about: string
  readonly parts: readonly Part[]
}

/** A package as recipes.ts lists it. */
export interface PackageNote {
  /** Its name in Debian 13, where the recipe has `*`. */
  readonly known?: string
  readonly licence: string
}

/** The packages of a recipe, each once, in the order of its parts. */
export const packagesOf = (recipe: Recipe): string[] => [...new Set(recipe.parts.map((part) => part.package))]

/** Whether a name is the package of a recipe, in any version. */
export function matchesPackage(pattern: string, name: string): boolean {
  return name === pattern || versionIn(pattern, name) !== undefined
}

/** Numbers at the place of the `*`: [6, 12] of `linux-source-6.12`. Undefined if the name is another. */
function versionIn(pattern: string, name: string): number[] | undefined {
  const [before = '', after] = pattern.split('*')
  if (after === undefined) return name === pattern ? [] : undefined
  const middle =
    name.startsWith(before) && name.endsWith(after) ? name.slice(before.length, name.length - after.length) : ''
  return /^\d+(\.\d+)*$/.test(middle) ? middle.split('.').map(Number) : undefined
}

/** The newest of the names that a pattern matches. */
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
