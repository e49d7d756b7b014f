/** Addresses of the dashboard that nobody should have written: every field of them may hold anything. */
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { chromium, named, soon } from './dashboard-page.ts'
import { makeRun, makeTrace } from './dashboard-runs.ts'
import { siteOf } from './dashboard-site.ts'

const junk = [
  '<img src=x onerror=alert(1)>',
  '-1',
  '0.5',
  'NaN',
  '1e308',
  '-1e308',
  '99999999999999999999',
  ',,%00',
  '',
]

/** Fields of the address on each page. What may hide the others is tried alone. */
const everywhere = ['columns', 'sort', 'down', 'differences', 'unheard-of']
const hiding = ['page', 'runs', 'filter', 'metrics', 'from', 'to', 'metric', 'folded']
const pages = {
  curves: ['x', 'log', 'smoothing', 'bands', 'pinned', 'metric'],
  experts: ['run', 'map', 'order', 'load', 'router', 'expert', 'at'],
  tokens: ['a', 'b', 'source', 'document', 'layer', 'module', 'choice', 'mark', 'numbers', 'text'],
} as const

describe.skipIf(chromium === undefined)(named('addresses that nobody should have written'), { timeout: 60_000 }, () => {
  const site = siteOf(async (workspace) => {
    const routing = [1, 2].map((step) => ({ step, layer: 0, tokens_per_expert: [1, 2, 3, 4] }))
    await makeRun(workspace, 'run', { train: [{ loss: 3 }, { loss: 2 }, { loss: 1 }], routing })
    await makeRun(workspace, 'other', { train: [{ loss: 3 }, { loss: 2 }], routing })
    makeTrace(workspace, 'trace')
  })

  /** Looks at it, and says what went wrong on the page. */
  const look = async (page: Page, query: Record<string, string>, shown: string) => {
    const about = { ...soon, message: JSON.stringify(query) }
    const main = page.getByRole('main')
    await expect.poll(() => main.locator(shown).count(), about).toBeGreaterThan(0)
    await expect.poll(() => main.locator('[aria-busy=true]').count(), about).toBe(0)
    expect(await page.locator('[role=alert], .card .bad, main img').allTextContents(), about.message).toEqual([])
  }

  test.each([
    ['curves', '.card canvas'],
    ['experts', '.heat canvas'],
    ['tokens', '.trace'],
  ] as const)('the page of %s shows what it would, whatever all of its fields hold', (name, shown) =>
    site.on('', async (page) => {
      for (const value of junk) {
        const fields = [...everywhere, ...pages[name]].map((field) => [field, value])
        const query = { ...Object.fromEntries(fields), page: name }
        await page.goto(`${site.server.address}?${new URLSearchParams(query)}`)
        await look(page, query, shown)
        expect(await page.getByRole('region', { name: /^Expert / }).count(), value).toBe(0)
      }
    }),
  )

  test('a field that may hide all others does no harm either', () =>
    site.on('', async (page) => {
      for (const field of hiding)
        for (const value of junk) {
          await go(page, { [field]: value })
          await look(page, { [field]: value }, '*')
        }
      await go(page, {})
      await look(page, {}, '.card canvas')
    }))

  test('one can go back: to the page, the expert, the zoom before', () =>
    site.on('', async (page) => {
      await look(page, {}, '.card canvas')
      const plot = await page.locator('.plot .u-over').first().boundingBox()
      const { x = 0, y = 0, width = 0, height = 0 } = plot ?? {}
      const drag = async (from: number, to: number) => {
        await page.mouse.move(x + from * width, y + height / 2)
        await page.mouse.down()
        await page.mouse.move(x + to * width, y + height / 2, { steps: 4 })
        await page.mouse.up()
      }
      await drag(0.2, 0.8)
      await expect.poll(() => page.url(), soon).toContain('from=')
      await page.getByRole('link', { name: 'Experts' }).click()
      await page.locator('.heat canvas').click()
      await expect.poll(() => page.url(), soon).toContain('expert=')
      await page.getByRole('radio', { name: 'Load' }).check()
      for (const [there, gone] of [
        ['page=experts', 'expert='],
        ['from=', 'page='],
        [site.server.address, 'from='],
      ] as const) {
        await page.goBack()
        await expect.poll(() => page.url(), soon).not.toContain(gone)
        expect(page.url()).toContain(there)
      }
      await page.goForward()
      await expect.poll(() => page.url(), soon).toContain('from=')
    }))

  test('ranges that are none, or beyond all numbers, leave curves or a word', () =>
    site.on('', async (page) => {
      for (const query of [
        { from: '1', to: '1' },
        { from: '3', to: '1' },
        { from: '-1e308', to: '1e308' },
        { from: '1', to: '1.0000000000000002' },
        { to: '5e-324', log: '1' },
        { from: '-1e308', to: '1e308', x: 'time', log: '1' },
      ]) {
        await go(page, query)
        await look(page, query, '.card canvas, .card .empty')
      }
    }))
})

/** As the browser does when one goes back: the address changes, and the page is told. */
const go = (page: Page, query: Record<string, string>) =>
  page.evaluate(`history.pushState(null, '', ${JSON.stringify(`?${new URLSearchParams(query)}`)})
    dispatchEvent(new PopStateEvent('popstate'))`)
