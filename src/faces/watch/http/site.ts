/**
 * The parts of a server that every page needs: headers, access, the files of the page, and errors as responses. The
 * dashboard adds the routes that its page requests. Files are looked up in a list; nothing in a request becomes a path.
 */

import { readdir, readFile } from 'node:fs/promises'
import { extname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Context, Hono } from 'hono'
import { compress } from 'hono/compress'
import { html } from 'hono/html'
import { RunError } from '../../../core/errors.ts'
import { packageFile } from '../../../core/package-file.ts'
import { ProblemError, problemOf } from '../../http/problem.ts'
import { isOwnName } from '../../http/senders.ts'
import type { Access, Service } from '../../http/serve.ts'
import { access } from './access.ts'

/** Serves a page. @param addRoutes Adds the routes that the page requests, which come before its files. */
export function createSite(page: Page, rules: Access, addRoutes: (app: Hono) => void = () => {}): Hono {
  const app = new Hono()
  app.use(async (c, next) => {
    await next()
    for (const [name, value] of securityHeaders) c.res.headers.set(name, value)
    // Under any other name a browser ignores this header without TLS, and logs a complaint.
    if (isOwnName(c)) c.res.headers.set('cross-origin-opener-policy', 'same-origin')
  })
  app.use(access(rules))
  addRoutes(app)

  app.get('*', compress(), (c) => {
    const file = page.get(c.req.path)
    if (!file) throw new ProblemError(404, `There is nothing at ${c.req.path}.`)
    const caching = file.hashed ? 'public, max-age=31536000, immutable' : 'no-cache'
    return c.body(file.bytes, 200, { 'content-type': file.type, 'cache-control': caching })
  })
  app.notFound((c) => problemResponse(c, new ProblemError(404, `There is nothing at ${c.req.path}.`)))
  app.onError((error, c) => problemResponse(c, problemOf(error)))
  return app
}

/** A service of a page, such as the dashboard. TensorBoard uses port 6006. */
export const pageService: Service = {
  firstPort: 6007,
  allows: 'read these runs',
  problem: (message) => ({ problem: message }),
}

/** Headers of every response. uPlot and Preact set styles as properties, so 'unsafe-inline' is not needed. */
const securityHeaders = Object.entries({
  'content-security-policy':
    "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
})

/** A problem as HTML for a browser that opened the address, and as JSON for programs. */
function problemResponse(c: Context, { message, status }: ProblemError): Response | Promise<Response> {
  if (!c.req.header('accept')?.includes('text/html')) return c.json({ problem: message }, status)
  const page = html`<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
    <meta name="color-scheme" content="light dark"><title>Choir</title><h1>Choir</h1><p>${message}</p></html>`
  return c.html(page, status)
}

interface PageFile {
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
