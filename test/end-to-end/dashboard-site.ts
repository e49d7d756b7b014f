/** Shared setup of a test file of the dashboard: a folder of runs, `choir watch` over it, and a browser. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect } from 'vitest'
import { openChromium } from '../../bench/support/browser.ts'
import { chromium, type VisitOptions, visit, type Watching, watching } from './dashboard-page.ts'
import { Workspace } from './support.ts'

export interface Site {
  readonly workspace: Workspace
  readonly server: Watching
  readonly browser: Browser
  /** Visits the page with this query in its address. */
  on(query: string, use: (page: Page) => Promise<void>, options?: VisitOptions): Promise<void>
}

/**
 * Call it within `describe`; the site is available once tests run.
 * @param fill Creates the runs, in the folder `runs`.
 * @param args Further arguments of `choir watch`.
 */
export function siteOf(fill: (workspace: Workspace) => Promise<unknown>, ...args: string[]): Site {
  let workspace: Workspace | undefined
  let server: Watching | undefined
  let browser: Browser | undefined

  beforeAll(async () => {
    workspace = new Workspace()
    await fill(workspace)
    server = await watching(workspace, 'watch', 'runs', '--data', '.', ...args)
    browser = await openChromium(chromium as string)
  }, 60_000)

  afterAll(async () => {
    await browser?.close()
    server?.running.kill('SIGINT')
    const ended = await server?.running.ended
    workspace?.remove()
    // The server must not have ended by itself or written errors.
    if (ended) expect(ended).toMatchObject({ code: 0, stderr: '' })
  })

  return {
    get workspace() {
      return available(workspace)
    },
    get server() {
      return available(server)
    },
    get browser() {
      return available(browser)
    },
    on(query, use, options = {}) {
      return visit(this.browser, `${this.server.address}?${query}`, use, options)
    },
  }
}

function available<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the site is available only while tests run')
  return value
}
