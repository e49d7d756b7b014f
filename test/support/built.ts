/** Runs before the suite: threads and the program itself run from `dist/`, so an old build would be tested instead. */
import { readdirSync, statSync } from 'node:fs'
import { join, sep } from 'node:path'

export default function expectBuilt(): void {
  const built = statSync('dist/faces/cli/process.js', { throwIfNoEntry: false })?.mtimeMs
  if (built === undefined) throw new Error('there is no build: npm run build')
  const newer = readdirSync('src', { recursive: true, withFileTypes: true })
    .filter(({ name }) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .map(({ parentPath, name }) => join(parentPath, name))
    .find((path) => !path.includes(`${sep}testing${sep}`) && statSync(path).mtimeMs > built)
  if (newer !== undefined) console.warn(`\n${newer} is newer than the build in dist/: npm run build\n`)
}
