/** What a file of tests of the dashboard shares: a folder of runs, `choir watch` over it, and a browser. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect } from 'vitest'
import { openChromium } from '../../bench/support/browser.ts'
import { chromium, type VisitOptions, visit, type Watching, watching } from './dashboard-page.ts'
import { Workspace } from './support.ts'

export interface Site {
  readonly workspace: Workspace
  readonly server: Watching
  readonly browser: Browser
  /** Looks at the page with this query in its address. */
  on(query: string, look: (page: Page) => Promise<void>, options?: VisitOptions): Promise<void>
}

/**
 * To be called where tests are told; there for them once they run.
 * @param fill Makes the runs, in the folder `runs`.
 * @param args More for `choir watch`.
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
    // Whatever was done to it, it complained of nothing and did not end by itself.
    if (ended) expect(ended).toMatchObject({ code: 0, stderr: '' })
  })

  return {
    get workspace() {
      return there(workspace)
    },
    get server() {
      return there(server)
    },
    get browser() {
      return there(browser)
    },
    on(query, look, options = {}) {
      return visit(this.browser, `${this.server.address}?${query}`, look, options)
    },
  }
}

function there<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('only while tests run')
  return value
}
