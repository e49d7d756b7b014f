/** Packages that are made up for tests: extracted packages, and a system with a database of dpkg. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { packagesOf } from '../recipe.ts'
import { recipes } from '../recipes.ts'

export type Files = Readonly<Record<string, string | Uint8Array>>

export function writeFiles(folder: string, files: Files): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), content)
  }
}

const copyright =
  'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: MIT\n'

/** Writes a package as `dpkg-deb --raw-extract` does. */
export function extractedPackage(root: string, name: string, files: Files, version = '1.0-1'): void {
  writeFiles(join(root, name), {
    'DEBIAN/control': `Package: ${name}\nVersion: ${version}\n`,
    [`usr/share/doc/${name}/copyright`]: copyright,
    ...files,
  })
}

/** Writes packages as an installation has them. */
export function installedPackages(root: string, packages: Readonly<Record<string, Files>>): void {
  const status = Object.keys(packages).map(
    (name) => `Package: ${name}\nStatus: install ok installed\nVersion: 2.0-1\nDescription: a package\n more\n`,
  )
  writeFiles(root, { 'var/lib/dpkg/status': status.join('\n') })
  for (const [name, files] of Object.entries(packages)) {
    const all = { [`usr/share/doc/${name}/copyright`]: copyright, ...files }
    const list = ['/.', '/usr', ...Object.keys(all).map((file) => `/${file}`)]
    writeFiles(root, { ...all, [`var/lib/dpkg/info/${name}.list`]: `${list.join('\n')}\n` })
  }
}

/** All packages of a recipe except some, as a list of packages to leave out. */
export function allBut(recipe: string, kept: readonly string[]): string[] {
  const found = recipes.find(({ name }) => name === recipe)
  return found ? packagesOf(found).filter((name) => !kept.includes(name)) : []
}

/** Prose of about 350 characters, which is different for each name. */
export const prose = (name: string): string =>
  [1, 2, 3]
    .map(
      (i) =>
        `Paragraph ${i} of ${name} says what only ${name} says, and it is as long as paragraphs of manuals are: ${name} ${i}.`,
    )
    .join('\n\n')
