/** `choir play` as a visitor uses it, in Chromium, with WebGPU by SwiftShader (a software device). */
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, expect } from 'vitest'
import { type ChoirProcess, Workspace } from './support.ts'
import { openBrowser } from './web-site.ts'

/** A few pages of text that a small model can learn from. */
export const text = Array.from(
  { length: 400 },
  (_, i) =>
    `Chapter ${i}. The ${['whale', 'ship', 'captain', 'sea'][i % 4]} was ${['white', 'old', 'deep', 'grey'][(i * 7) % 4]}, ` +
    `and ${['Ishmael', 'Ahab', 'Queequeg'][i % 3]} went on board before the storm came over the water.`,
).join('\n')

/** Polling with a long timeout, since SwiftShader compiles and computes on the processor. */
export const patience = { timeout: 240_000, interval: 250 }

/** A server of a test file, and its pages in a browser; `problems` are errors, and requests to other servers. */
export function playSite() {
  const workspace = new Workspace()
  const problems: string[] = []
  let browser: Browser
  let context: BrowserContext
  let address: string
  let server: ChoirProcess | undefined
  beforeAll(async () => {
    server = workspace.start('play', '--json')
    address = String((await server.line(({ kind }) => kind === 'play')).address)
    browser = await openBrowser()
    context = await browser.newContext({ viewport: { width: 1400, height: 900 } })
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    server?.kill('SIGINT')
    await server?.ended
    workspace.remove()
  })

  /** @param script Runs before the scripts of the page. */
  async function visit(script?: string): Promise<Page> {
    const page = await context.newPage()
    if (script) await page.addInitScript(script)
    page.on('pageerror', ({ message }) => problems.push(message))
    page.on('console', (message) => {
      if (message.type() === 'error') problems.push(message.text())
    })
    page.on('request', (request) => {
      if (!request.url().startsWith(address) && !/^(?:blob|data):/.test(request.url())) problems.push(request.url())
    })
    await page.goto(address)
    return page
  }

  const phaseOf = (page: Page, side: string) => page.locator(`[data-side="${side}"][data-phase]`)
  const reaches = (page: Page, side: string, phase: RegExp) =>
    expect.poll(() => phaseOf(page, side).getAttribute('data-phase'), patience).toMatch(phase)
  const factOf = (page: Page, side: string, name: string) =>
    phaseOf(page, side)
      .locator(`dl > div:has(dt:text-is("${name}")) dd`)
      .textContent({ timeout: 1000 })
      .catch(() => '')
  const stepOf = async (page: Page, side: string): Promise<number> =>
    Number.parseInt((await factOf(page, side, 'step')) || '-1', 10)
  const lossOf = async (page: Page, side: string): Promise<number> => Number(await factOf(page, side, 'loss'))

  return { workspace, problems, address: () => address, visit, phaseOf, reaches, stepOf, lossOf }
}
