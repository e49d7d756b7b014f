/**
 * Gets packages from the archive of Debian for one build. They are extracted but not installed, so it needs no root.
 */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { option, RunError, wording } from '../../core/errors.ts'
import { runProgram } from './programs.ts'
import { newestMatch } from './recipe.ts'

const apt = wording`packages are downloaded with apt-get, so on Debian and its derivatives; elsewhere name a folder with ${option('root')}`

/**
 * Downloads the newest package of each pattern and extracts it into a folder of its own below `root`.
 * @throws RunError if apt knows no such package, or has no connection
 */
export async function downloadPackages(
  patterns: readonly string[],
  root: string,
  onProgress: (name: string, done: number, total: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  const names: string[] = []
  for (const pattern of patterns) {
    const known = await runProgram(['apt-cache', 'pkgnames', pattern.replace(/\*.*$/, '')], { missing: apt, signal })
    const name = newestMatch(pattern, known.split('\n'))
    if (name === undefined)
      throw new RunError(
        wording`apt knows no package ${pattern}: run apt-get update, or leave it out with ${option('without', `'${pattern}'`)}`,
      )
    names.push(name)
  }
  for (const [i, name] of names.entries()) {
    onProgress(name, i, names.length)
    const debs = join(root, '.debs', name)
    mkdirSync(debs, { recursive: true })
    await runProgram(['apt-get', 'download', name], { folder: debs, missing: apt, signal })
    const [deb] = readdirSync(debs).filter((file) => file.endsWith('.deb'))
    if (deb === undefined) throw new RunError(`apt-get download ${name} gave no package`)
    const folder = join(root, name)
    await runProgram(['dpkg-deb', '--raw-extract', join(debs, deb), folder], { missing: apt, signal })
  }
}
