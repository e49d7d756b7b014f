/**
 * Invalid addresses of the dashboard: every field may have any value.
 *
 * @slow
 */
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { chromium, go, named, soon } from './dashboard-page.ts'
import { makeRun, makeTrace } from './dashboard-runs.ts'
import { siteOf } from './dashboard-site.ts'

const attack = '<img src=x onerror=alert(1)>'
const junk = [attack, '-1', '0.5', 'NaN', '1e308', '-1e308', '99999999999999999999', ',,%00', '']

/** Fields of the address on each page. Fields that may hide others are tested separately. */
const everywhere = ['columns', 'sort', 'down', 'differences', 'unheard-of']
const hiding = ['page', 'runs', 'hide', 'filter', 'metrics', 'from', 'to', 'metric', 'folded']
const pages = {
  curves: ['x', 'log', 'smoothing', 'bands', 'outliers', 'pinned', 'metric'],
  experts: ['run', 'order', 'load', 'scale', 'router', 'expert', 'at'],
  ranks: ['run', 'span', 'until'],
  tokens: ['a', 'b', 'source', 'document', 'layer', 'module', 'choice', 'mark', 'mark-b', 'numbers', 'text'],
} as const

/** The address of a page, all of whose fields have this value. */
const addressed = (page: keyof typeof pages, value: string): Record<string, string> => ({
  ...Object.fromEntries([...everywhere, ...pages[page]].map((field) => [field, value])),
  page,
})

describe.skipIf(chromium === undefined)(named('invalid addresses of the dashboard'), { timeout: 60_000 }, () => {
  const site = siteOf(async (workspace) => {
    const routing = [1, 2].map((step) => ({ step, layer: 0, tokens_per_expert: [1, 2, 3, 4] }))
    const ranks = [{ compute_ms: [1, 2] }, { compute_ms: [1, 2] }]
    await makeRun(workspace, 'run', { train: [{ loss: 3 }, { loss: 2 }, { loss: 1 }], routing, ranks })
    await makeRun(workspace, 'other', { train: [{ loss: 3 }, { loss: 2 }], routing })
    makeTrace(workspace, 'trace')
  })

  /** Checks that the page shows `selector` and no error. */
  const check = async (page: Page, query: Record<string, string>, selector: string) => {
    const options = { ...soon, message: JSON.stringify(query) }
    const main = page.getByRole('main')
    await expect.poll(() => main.locator(selector).count(), options).toBeGreaterThan(0)
    await expect.poll(() => main.locator('[aria-busy=true]').count(), options).toBe(0)
    expect(await page.locator('[role=alert], .card .bad, main img').allTextContents(), options.message).toEqual([])
  }

  test.each([
    ['curves', '.card canvas'],
    ['experts', '.heat canvas >> nth=0'],
    ['tokens', '.trace'],
    ['ranks', '.stack'],
  ] as const)('the page of %s shows its contents, whatever its fields contain', (name, selector) =>
    site.on(String(new URLSearchParams(addressed(name, attack))), async (page) => {
      for (const value of junk) {
        const query = addressed(name, value)
        // The first value is in the address of the visit.
        if (value !== attack) await go(page, query)
        await check(page, query, selector)
        expect(await page.getByRole('region', { name: /^Expert / }).count(), value).toBe(0)
      }
    }),
  )

  test('invalid values of the remaining fields do no harm either', () =>
    site.on('', async (page) => {
      for (const field of hiding)
        for (const value of junk) {
          await go(page, { [field]: value })
          await check(page, { [field]: value }, '*')
        }
      await go(page, {})
      await check(page, {}, '.card canvas')
    }))

  test('parameters of a link that have no meaning are named, and the others apply', () =>
    site.on('log=1&shown=run&x=steps&smoothing=0.2&scale=2', async (page) => {
      const note = page.getByRole('status').filter({ hasText: 'ignored' })
      await expect.poll(() => note.textContent(), soon).toMatch(/are ignored: shown, x=steps\./)
      expect(await page.getByRole('checkbox', { name: 'Log y' }).isChecked()).toBe(true)
      await note.getByRole('button', { name: 'Close' }).click()
      expect(await note.count()).toBe(0)
      await page.reload()
      await check(page, {}, '.card canvas')
      expect(await note.count()).toBe(0)
    }))

  test('a link that hides runs shows the others, and the page writes such links', () =>
    site.on('', async (page) => {
      const box = (name: string) => page.getByRole('checkbox', { name: `Show ${name}`, exact: true })
      await box('other').uncheck()
      await expect.poll(() => page.url(), soon).toMatch(/\?hide=\w+$/)
      await page.reload()
      await expect.poll(() => box('other').isChecked(), soon).toBe(false)
      expect(await box('run').isChecked()).toBe(true)
      expect(await page.getByRole('status').filter({ hasText: 'shown' }).textContent()).toBe('3 runs, 2 shown')
      await page.getByRole('button', { name: 'All', exact: true }).click()
      await expect.poll(() => box('other').isChecked(), soon).toBe(true)
      expect(page.url()).not.toContain('hide=')
    }))

  test('the back button returns to the previous page, expert and zoom', () =>
    site.on('', async (page) => {
      await check(page, {}, '.card canvas')
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
      await page.locator('.heat canvas').first().click()
      await expect.poll(() => page.url(), soon).toContain('expert=')
      await page.getByRole('radio', { name: 'Load' }).check()
      for (const [present, absent] of [
        ['page=experts', 'expert='],
        ['from=', 'page='],
        [site.server.address, 'from='],
      ] as const) {
        await page.goBack()
        await expect.poll(() => page.url(), soon).not.toContain(absent)
        expect(page.url()).toContain(present)
      }
      await page.goForward()
      await expect.poll(() => page.url(), soon).toContain('from=')
    }))

  test('empty or infinite ranges show curves or a message', () =>
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
        await check(page, query, '.card canvas, .card .empty')
      }
    }))
})
