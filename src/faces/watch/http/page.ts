/** The files of a page, read once at start. No other file can be requested, whatever the path. */
import { readdir, readFile } from 'node:fs/promises'
import { extname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { RunError } from '../../../core/errors.ts'
import { packageFile } from '../../../core/package-file.ts'

export interface PageFile {
  readonly type: string
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Whether its name changes with its contents, so that it can be cached for ever. */
  readonly hashed: boolean
}

/** Files by URL path; `/` is the page. */
export type Page = ReadonlyMap<string, PageFile>

/** The folder of a page as `npm run build` leaves it. */
export const builtPage = (name: 'web' | 'play' | 'share'): string => fileURLToPath(packageFile(`dist/${name}`))

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.bin': 'application/octet-stream',
}

/** Reads the files of a page. @throws RunError when the page is not built */
export async function readPage(folder: string): Promise<Page> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const files = new Map<string, PageFile>()
  for (const entry of entries) {
    const type = types[extname(entry.name)]
    if (!entry.isFile() || type === undefined) continue
    const file = join(entry.parentPath, entry.name)
    const path = `/${relative(folder, file).split(sep).join('/')}`
    files.set(path === '/index.html' ? '/' : path, {
      type,
      bytes: new Uint8Array(await readFile(file)),
      hashed: path.startsWith('/assets/'),
    })
  }
  if (!files.has('/')) throw new RunError(`there is no page in ${folder} (run: npm run build)`)
  return files
}
