/**
 * The site of the documentation as a visitor uses it. It is built if it is missing or older than its sources.
 *
 * @slow
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openChromium } from '../../bench/support/browser.ts'
import { sectionsOf } from '../../site/navigation.ts'
import { chromium, coloursOf, named, soon, textOf, violationsOn, visit } from './dashboard-page.ts'
import { inRepository, type Site, serve } from './web-site.ts'

const built = inRepository('site/dist')

/** Rules of WCAG. On pages of the API reference TypeDoc skips levels of headings, which they permit. */
const accessibility = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']

function isOld(): boolean {
  const page = join(built, 'index.html')
  if (!existsSync(page)) return true
  const { mtimeMs } = statSync(page)
  return ['docs', 'site', 'web'].some((folder) =>
    readdirSync(inRepository(folder), { recursive: true, withFileTypes: true }).some(
      (entry) =>
        entry.isFile() &&
        !entry.parentPath.startsWith(built) &&
        statSync(join(entry.parentPath, entry.name)).mtimeMs > mtimeMs,
    ),
  )
}

describe.skipIf(chromium === undefined)(named('the site'), { timeout: 120_000 }, () => {
  let site: Site
  let browser: Browser
  beforeAll(async () => {
    if (isOld())
      execFileSync(process.execPath, ['node_modules/tsx/dist/cli.mjs', 'site/build.ts'], { cwd: inRepository('.') })
    site = await serve(built)
    browser = await openChromium(chromium as string)
  }, 600_000)
  afterAll(async () => {
    await browser?.close()
    site?.close()
  })

  const open = (path: string, use: (page: Page) => Promise<void>, options = {}) =>
    visit(browser, `${site.address}${path}`, use, options)

  const looks = [390, 1440].flatMap((width) => (['light', 'dark'] as const).map((colours) => [width, colours] as const))

  describe.each(['index.html', 'docs/index.html', 'docs/routing.html', 'api/functions/choir.train.html'])(
    '%s',
    (path) => {
      test.each(looks)('is readable at %i pixels, %s, by axe and without scrolling sideways', (width, colorScheme) =>
        open(
          path,
          async (page) => {
            await page.locator('h1').first().waitFor()
            if (path === 'index.html') await page.locator('.heat-box canvas').first().waitFor()
            expect(await page.evaluate('[document.scrollingElement.scrollWidth, innerWidth]')).toEqual([width, width])
            expect(await violationsOn(page, path.startsWith('api/') ? accessibility : undefined)).toEqual([])
          },
          { viewport: { width, height: 844 }, colorScheme },
        ),
      )
    },
  )

  test('the front page replays a training, and the switch changes what is seen', () =>
    open('index.html', async (page) => {
      const map = page.locator('.heat-box canvas').first()
      const slider = page.getByRole('slider', { name: 'Snapshot' })
      await expect.poll(async () => Number(await slider.inputValue()), soon).toBeGreaterThan(5)
      await slider.fill('99')
      const caption = page.locator('.balancing-caption')
      expect(await textOf(caption)).toMatch(
        /^Step 400, balancing off\. Expert \d+ of layer 0 gets 9\d\.\d % of the tokens/,
      )
      expect(await coloursOf(map)).toBeGreaterThan(3)
      await page.getByRole('radio', { name: 'on', exact: true }).check()
      expect(await textOf(caption)).toMatch(
        /^Step 400, balancing on\. .* gets \d\.\d % .* and 0 of 16 experts get less/,
      )
    }))

  test('the front page does not move by itself for visitors who asked for less motion', () =>
    open(
      'index.html',
      async (page) => {
        await page.locator('.heat-box canvas').first().waitFor()
        expect(await page.getByRole('button', { name: 'Play (space)' }).count()).toBe(1)
        expect(await page.getByRole('slider', { name: 'Snapshot' }).inputValue()).toBe('99')
      },
      { reducedMotion: 'reduce' },
    ))

  test('the first picture is there within two seconds', async () => {
    const times: number[] = []
    for (let i = 0; i < 3; i++)
      await open('index.html', async (page) => {
        await page.waitForFunction('document.querySelector(".heat-box canvas")?.width > 300', null, { polling: 20 })
        times.push(Number(await page.evaluate('performance.now()')))
      })
    expect(Math.min(...times)).toBeLessThan(2_000)
  })

  test('the search finds a page by a word in it', () =>
    open('index.html', async (page) => {
      await page.getByRole('button', { name: 'Search' }).click()
      await page.getByRole('combobox', { name: /search/i }).fill('prototypes')
      const results = page.locator('#tsd-search-results a')
      await expect
        .poll(
          async () =>
            (await results.evaluateAll((links) => links.map((a) => (a as unknown as { href: string }).href))).join(' '),
          soon,
        )
        .toContain('docs/routing.html')
    }))

  test('the switch of colours lasts from page to page', () =>
    open(
      'index.html',
      async (page) => {
        const ground = () => page.evaluate('getComputedStyle(document.body).backgroundColor')
        const light = await ground()
        const button = page.getByRole('button', { name: /^Colours/ })
        await button.click()
        await button.click()
        expect(await textOf(button)).toBe('Colours: dark')
        expect(await ground()).not.toBe(light)
        const dark = await ground()
        await page.goto(`${site.address}docs/study.html`)
        expect(await ground()).toBe(dark)
      },
      { colorScheme: 'light' },
    ))

  test('the page of choir play is part of it', () =>
    open('play/index.html', async (page) => {
      await page.getByRole('heading', { level: 1 }).first().waitFor()
      expect(await page.title()).toBe('Choir play')
    }))

  test('the list of pages has every page of docs/README.md', () =>
    open('docs/index.html', async (page) => {
      const sections = sectionsOf(readFileSync(inRepository('docs/README.md'), 'utf8'))
      const listed = page.locator('#tsd-nav-container a')
      const pages = sections.flatMap((section) => section.pages.map((path) => path.replace(/\.md$/, '.html')))
      expect(pages.length).toBeGreaterThan(20)
      await expect
        .poll(
          () =>
            listed.evaluateAll((links) => links.map((a) => new URL((a as unknown as { href: string }).href).pathname)),
          soon,
        )
        .toEqual(expect.arrayContaining(pages.map((path) => `/${path}`)))
    }))
})
