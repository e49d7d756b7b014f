/**
 * Finds out whether a checkout runs an old build. The program, its threads and WASM kernels, and the pages are run from
 * `dist/`, which edits of sources do not change. An installed package has no sources, so nothing is checked there.
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

const kernels = 'src/engine/cpu/wasm/assembly'

/** The parts of a build: the file of a part that is written last, and the folders of its sources. */
const parts = [
  { name: 'program', built: 'dist/faces/cli/program/process.js', sources: ['src'], except: kernels },
  { name: 'kernels', built: 'dist/engine/cpu/wasm/kernels.wasm', sources: [kernels] },
  { name: 'pages', built: 'dist/share/index.html', sources: ['web'] },
]

const isSource = (name) => /\.(?:tsx?|css|html)$/.test(name) && !/\.test\.tsx?$/.test(name)

/** Path of a source in a folder that is newer than a time, or undefined. Every command looks, so this must be quick. */
function newerSource(root, folder, except, time) {
  for (const entry of readdirSync(`${root}/${folder}`, { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) {
      const source = entry.name === 'testing' || path === except ? undefined : newerSource(root, path, except, time)
      if (source !== undefined) return source
    } else if (isSource(entry.name) && statSync(`${root}/${path}`).mtimeMs > time) return join(path)
  }
  return undefined
}

/**
 * Parts of the build that are missing or older than one of their sources, each with the newer source.
 * @param root Folder of the package.
 */
export function stalePartsOf(root) {
  if (!existsSync(join(root, 'src'))) return []
  return parts.flatMap(({ name, built, sources, except }) => {
    const time = statSync(join(root, built), { throwIfNoEntry: false })?.mtimeMs ?? 0
    for (const folder of sources) {
      const source = newerSource(root, folder, except, time)
      if (source !== undefined) return [{ name, source }]
    }
    return []
  })
}

/** A sentence that names a stale part and the command that builds it. */
export const staleText = ({ name, source }) =>
  `${source} is newer than the build of the ${name} in dist/, which is used as it is (run: npm run build)`
