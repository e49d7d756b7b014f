/**
 * The files of the page, read once: what is not among them cannot be asked for, whatever a path looks like.
 */
import { readdir, readFile } from 'node:fs/promises'
import { extname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { RunError } from '../../errors.ts'

export interface PageFile {
  readonly type: string
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Its name changes with its contents. */
  readonly hashed: boolean
}

/** By path in the address; `/` is the page. */
export type Page = ReadonlyMap<string, PageFile>

/** `src/` and `dist/` are equally deep. */
export const builtPage = fileURLToPath(new URL('../../../dist/web', import.meta.url))

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/** @throws RunError when the page is not built */
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
  if (!files.has('/')) throw new RunError(`the page of the dashboard is not in ${folder} (run: npm run build)`)
  return files
}
