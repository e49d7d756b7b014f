/**
 * Accessibility of the dashboard: narrow screens, light and dark colours, names and roles.
 *
 * @slow
 */
import { writeFileSync } from 'node:fs'
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { violationsOn } from './accessible.ts'
import { card, chromium, go, heatMap, named, pickRun, rowOf, timeMap } from './dashboard-page.ts'
import { makeRun } from './dashboard-runs.ts'
import { siteOf } from './dashboard-site.ts'
import { expectSuccess, prose } from './support.ts'

describe.skipIf(chromium === undefined)(named('accessibility of the dashboard'), { timeout: 60_000 }, () => {
  const site = siteOf(async (workspace) => {
    // The text is short, because axe (which checks accessibility) looks at every token.
    const source = workspace.file('short.txt')
    writeFileSync(source, prose(1, 6000))
    for (const [name, k] of [
      ['good', 1],
      ['other', 2],
    ] as const) {
      const moe = { experts: 8, router: 'prototype', prototypes: 2, k } as const
      const config = workspace.config({ model: { moe }, data: { source } })
      await expectSuccess(workspace.start('train', config, '--out', `runs/${name}`))
    }
    const ranks = [1, 2, 3].map(() => ({ compute_ms: [5, 6], wait_ms: [1, 0] }))
    await makeRun(workspace, 'ranks', { train: ranks.map(() => ({})), ranks, hosts: ['a', 'b'] })
  })

  test.each(Object.keys(views).flatMap((name) => [1440, 390].map((width) => [name, width] as const)))(
    '%s fits a screen of %d pixels and has no accessibility violations, in light and in dark',
    (name, width) =>
      site.on(
        '',
        async (page) => {
          await views[name as keyof typeof views](page)
          expect(await page.evaluate('document.scrollingElement.scrollWidth')).toBeLessThanOrEqual(width)
          // Narrow pages are opened in the dark, and wide ones in the light.
          await expectNoViolations(page, name, width === 390 ? ['dark', 'light'] : ['light', 'dark'])
        },
        { viewport: { width, height: 844 }, colorScheme: width === 390 ? 'dark' : 'light' },
      ),
  )

  test.each(Object.keys(pages))('%s has no accessibility violations, in light and in dark', (name) =>
    site.on(`page=${name}`, async (page) => {
      await rowOf(page, 'good').waitFor()
      for await (const state of pages[name as keyof typeof pages](page)) await expectNoViolations(page, state)
    }),
  )
})

/** Checks the visible page in light and in dark colours, since axe takes less time than another visit. */
async function expectNoViolations(
  page: Page,
  state: string,
  schemes: readonly ('light' | 'dark')[] = ['light', 'dark'],
): Promise<void> {
  for (const colorScheme of schemes) {
    await page.emulateMedia({ colorScheme })
    // The page hears of the colours of the system a moment later.
    const ground = () => page.evaluate(groundOf)
    if (colorScheme === 'dark') await expect.poll(ground).toBeLessThan(80)
    else await expect.poll(ground).toBeGreaterThan(200)
    // Dark colours change nothing but contrast.
    const rules = colorScheme === 'dark' ? ['color-contrast'] : undefined
    expect.soft(await violationsOn(page, rules), `${state}, ${colorScheme}`).toEqual([])
  }
}

/** The mean of red, green and blue of the page's ground. */
const groundOf = `getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3)
  .reduce((sum, channel) => sum + Number(channel) / 3, 0)`

const cardsOf = (page: Page) => page.getByRole('main').getByRole('article').first().waitFor()

/** Opens each page of the dashboard, on any screen. */
const views = {
  async curves(page: Page) {
    await cardsOf(page)
  },
  async 'the table of runs'(page: Page) {
    await cardsOf(page)
    if ((page.viewportSize()?.width ?? 0) < 1000) await page.getByRole('button', { name: 'Runs', exact: true }).click()
    await rowOf(page, 'good').waitFor()
  },
  async 'differences of configurations'(page: Page) {
    await cardsOf(page)
    await page.keyboard.press('d')
    await page.getByRole('dialog').getByRole('table').waitFor()
  },
  async keys(page: Page) {
    await cardsOf(page)
    await page.keyboard.press('?')
    await page.getByRole('dialog').waitFor()
  },
  async experts(page: Page) {
    await go(page, { page: 'experts' })
    await pickRun(page, 'good')
    await heatMap(page).press('Home')
    await timeMap(page).waitFor()
  },
  async tokens(page: Page) {
    await go(page, { page: 'tokens' })
    await pickRun(page, 'good')
    await page.getByRole('combobox', { name: 'Compare with' }).selectOption('other')
    await page.getByRole('application', { name: 'Text as other routes it' }).waitFor()
  },
  async ranks(page: Page) {
    await go(page, { page: 'ranks' })
    await page.getByRole('region', { name: 'Ranks' }).waitFor()
    await page.getByRole('region', { name: 'Ranks' }).getByRole('row').nth(2).waitFor()
  },
  async 'a filter that finds nothing'(page: Page) {
    await go(page, { filter: 'nothing-has-this-name' })
    await page.getByRole('main').getByText('No run').first().waitFor()
  },
}

/** Steps through the states of each page. */
const pages = {
  async *curves(page: Page) {
    await page.getByLabel('Filter the runs').fill('no.such.field=1')
    await page.getByText('Columns').click()
    yield 'a wrong filter and a menu'
    await page.keyboard.press('Escape')
    await page.getByLabel('Filter the runs').fill('')
    await card(page, 'train/drop_rate').getByRole('button', { name: 'Show as table' }).click()
    await card(page, 'train/loss').scrollIntoViewIfNeeded()
    await card(page, 'train/loss').getByRole('img').hover()
    await page.locator('.tip').waitFor()
    yield 'curves, a table and a tooltip'
    for (const key of ['?', 'd']) {
      await page.mouse.move(2, 400)
      await page.keyboard.press(key)
      await page.getByRole('dialog').waitFor()
      yield `the dialog of ${key}`
      await page.keyboard.press('Escape')
      await page.getByRole('dialog').waitFor({ state: 'detached' })
    }
  },
  async *experts(page: Page) {
    for (const key of ['Home', 'Enter', 'ArrowRight']) await heatMap(page).press(key)
    await page
      .getByRole('region', { name: /^Expert 0 / })
      .getByRole('row')
      .nth(1)
      .waitFor()
    yield 'layers and an expert'
    await timeMap(page).press('Home')
    await page.locator('.heat-tip').waitFor()
    yield 'experts over time'
  },
  async *tokens(page: Page) {
    await page.getByRole('checkbox', { name: 'Expert numbers' }).check()
    await page.getByRole('combobox', { name: 'Compare with' }).selectOption('other')
    await page.getByRole('application', { name: 'Text as other routes it' }).waitFor()
    await page.getByRole('application', { name: 'Text as good routes it' }).press('ArrowRight')
    await page.locator('.detail').first().waitFor()
    yield 'a text in two runs'
    await page.getByRole('radio', { name: 'Your own' }).check()
    yield 'a pasted text'
  },
}
