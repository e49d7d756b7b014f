import { expect, test } from 'vitest'
import { matchesPackage, newestMatch, packagesOf } from './recipe.ts'
import { packageNotes, recipes } from './recipes.ts'

test('if the names of packages have versions, the newest is found, by numbers', () => {
  const names = ['linux-source', 'linux-source-6.9', 'linux-source-6.18', 'linux-source-6.12', 'linux-source-6.18-rt']
  expect(newestMatch('linux-source-*', names)).toBe('linux-source-6.18')
  expect(newestMatch('linux-source-*', ['linux-source-7', 'linux-source-6.99.1'])).toBe('linux-source-7')
  expect(
    newestMatch('python*-doc', ['python-doc', 'python3-doc', 'python3.13-doc', 'python3.9-doc', 'python-numpy-doc']),
  ).toBe('python3.13-doc')
  expect(newestMatch('git-doc', ['git-doc-2', 'git-doc'])).toBe('git-doc')
  expect(newestMatch('git-doc', ['git'])).toBeUndefined()
})

test('a package is known by its name in the recipe, or by a name with a version', () => {
  expect(matchesPackage('linux-source-*', 'linux-source-*')).toBe(true)
  expect(matchesPackage('linux-source-*', 'linux-source-6.18')).toBe(true)
  expect(matchesPackage('linux-source-*', 'linux-source-')).toBe(false)
  expect(matchesPackage('linux-source-*', 'linux-image-6.18')).toBe(false)
})

test('the tables agree: a version in a name has a matching example, shares are shares, domains are paths', () => {
  for (const recipe of recipes)
    for (const part of recipe.parts) {
      const { known } = packageNotes[part.package] ?? {}
      if (part.package.includes('*')) expect(newestMatch(part.package, [known ?? ''])).toBe(known)
      else expect(known).toBeUndefined()
      expect(part.share ?? 1).toBeGreaterThan(0)
      expect(part.share ?? 1).toBeLessThanOrEqual(1)
      expect(part.domain).toMatch(/^[a-z][a-z-]*(\/[a-z][a-z-]*)?$/)
    }
  // A note about a package of no recipe would have a misspelt name.
  const all = new Set(recipes.flatMap(packagesOf))
  expect(Object.keys(packageNotes).filter((name) => !all.has(name))).toEqual([])
})
