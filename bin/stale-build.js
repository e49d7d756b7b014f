/**
 * Finds out whether a checkout runs an old build: the program, its threads and WASM kernels, and the pages run from
 * `dist/`, and an edit of a source does not change them. An installed package has no sources, and nothing is looked at.
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

const kernels = 'src/engine/cpu/wasm/assembly'

/** What a build writes last of a part, and the folders that it is made of. */
const parts = [
  { name: 'program', built: 'dist/faces/cli/process.js', sources: ['src'], except: kernels },
  { name: 'kernels', built: 'dist/engine/cpu/wasm/kernels.wasm', sources: [kernels] },
  { name: 'pages', built: 'dist/play/index.html', sources: ['web'] },
]

const isSource = (path) => /\.(?:tsx?|css|html)$/.test(path) && !/\.test\.tsx?$|[\\/]testing[\\/]/.test(path)

/** A source in a folder that is newer than a time, or undefined. */
function newerSource(root, folder, except, time) {
  for (const name of readdirSync(join(root, folder), { recursive: true })) {
    const path = join(folder, name)
    if (!isSource(path) || (except && path.startsWith(join(except)))) continue
    if (statSync(join(root, path)).mtimeMs > time) return path
  }
  return undefined
}

/**
 * The parts of a build that are missing, or older than one of their sources, with that source.
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

/** A sentence about a stale part, with what to do. */
export const staleText = ({ name, source }) =>
  `${source} is newer than the build of the ${name} in dist/, which is used as it is (run: npm run build)`
