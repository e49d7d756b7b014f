/** Lists the recipes for `choir corpus`, with their packages, the licences, and whether the packages are there. */
import { existsSync } from 'node:fs'
import { Packages } from './packages.ts'
import { packagesOf } from './recipe.ts'
import { manpagesLicence, packageNotes, recipes } from './recipes.ts'

export interface ListedPackage {
  /** Name of the package in the recipe, with `*` for a version. */
  readonly name: string
  readonly domains: readonly string[]
  readonly licence: string
  /** Name and version of the package that is there. */
  readonly found?: { readonly name: string; readonly version: string }
}

export interface ListedRecipe {
  readonly name: string
  readonly about: string
  readonly packages: readonly ListedPackage[]
}

/** @param root root of a system or folder of packages, as in {@link createCorpus} */
export function listRecipes(root = '/'): ListedRecipe[] {
  const packages = existsSync(root) ? new Packages(root) : undefined
  return recipes.map((recipe) => ({
    name: recipe.name,
    about: recipe.about,
    packages: packagesOf(recipe).map((name) => {
      const found = packages?.find(name)
      return {
        name,
        domains: [...new Set(recipe.parts.filter((part) => part.package === name).map(({ domain }) => domain))],
        licence: packageNotes[name]?.licence ?? manpagesLicence,
        ...(found && { found: { name: found.name, version: found.version } }),
      }
    }),
  }))
}
