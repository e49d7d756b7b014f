/**
 * Accessibility of the dashboard: narrow screens, light and dark colours, names and roles.
 *
 * @slow
 */
import { writeFileSync } from 'node:fs'
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { card, chromium, heatMap, named, pickRun, rowOf, violationsOn } from './dashboard-page.ts'
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
  })

  test.each(['curves', 'experts', 'tokens'])('%s fits a narrow screen, and follows a dark colour scheme', (name) =>
    site.on(
      `page=${name}`,
      async (page) => {
        if (name !== 'curves') await pickRun(page, 'good')
        const main = page.getByRole('main')
        await main
          .getByRole(name === 'curves' ? 'article' : 'application')
          .first()
          .waitFor()
        const widths = await page.evaluate('[document.scrollingElement.scrollWidth, innerWidth]')
        const [width, screen] = widths as [number, number]
        expect(width).toBeLessThanOrEqual(screen)
        const background = await page.evaluate('getComputedStyle(document.body).backgroundColor')
        const [red = 255, green = 255, blue = 255] = String(background).match(/\d+/g)?.map(Number) ?? []
        expect(Math.max(red, green, blue)).toBeLessThan(80)
        expect(await violationsOn(page)).toEqual([])
        await page.getByRole('button', { name: 'Runs', exact: true }).click()
        await rowOf(page, 'good').waitFor()
        expect(await violationsOn(page)).toEqual([])
        expect(await page.evaluate('document.scrollingElement.scrollWidth')).toBeLessThanOrEqual(screen)
      },
      { viewport: { width: 390, height: 844 }, colorScheme: 'dark' },
    ),
  )

  test.each(
    (['light', 'dark'] as const).flatMap((scheme) => Object.keys(pages).map((name) => [name, scheme] as const)),
  )('%s has no accessibility violations: %s', (name, colorScheme) =>
    site.on(
      `page=${name}`,
      async (page) => {
        await rowOf(page, 'good').waitFor()
        const states = pages[name as keyof typeof pages](page)
        for await (const state of states) {
          // Dark colours change nothing but contrast.
          const rules = colorScheme === 'dark' ? ['color-contrast'] : undefined
          expect.soft(await violationsOn(page, rules), state).toEqual([])
        }
      },
      { colorScheme },
    ),
  )
})

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
    await page.getByRole('radio', { name: 'Experts over time' }).check()
    await heatMap(page).press('Home')
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
