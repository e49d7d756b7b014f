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
import { type RoutingRecord, recordFile } from '../../bench/pages/routing/record.ts'
import { openChromium } from '../../bench/support/browser.ts'
import { sectionsOf } from '../../site/navigation.ts'
import { violationsOn } from './accessible.ts'
import { chromium, coloursOf, named, soon, textOf, visit } from './dashboard-page.ts'
import { inRepository, type Site, serve } from './web-site.ts'

const built = inRepository('site/dist')
const { runs } = JSON.parse(readFileSync(recordFile, 'utf8')) as RoutingRecord

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

  /** Milliseconds from a visit to a picture: the least of a few visits, which end with the first one below 2 seconds. */
  async function fastestOf(visits: number, path: string, isDrawn: string): Promise<number> {
    let least = Number.POSITIVE_INFINITY
    for (let i = 0; i < visits && least >= 2_000; i++)
      await open(path, async (page) => {
        await page.waitForFunction(isDrawn, null, { polling: 20 })
        least = Math.min(least, Number(await page.evaluate('performance.now()')))
      })
    return least
  }

  describe.each(['index.html', 'm6t.html', 'docs/index.html', 'docs/routing.html', 'api/functions/choir.train.html'])(
    '%s',
    (path) => {
      // Narrow pages are opened in the dark, and wide ones in the light.
      test.each([
        [390, ['dark', 'light']],
        [1440, ['light', 'dark']],
      ] as const)('is readable at %i pixels, %j, by axe and without scrolling sideways', (width, schemes) =>
        open(
          path,
          async (page) => {
            await page.locator('h1').first().waitFor()
            if (path === 'm6t.html') {
              await page.locator('.router-picture svg').first().waitFor()
              for (const answer of await page.locator('.guess details').all())
                await answer.evaluate((element) => element.setAttribute('open', ''))
            }
            if (path === 'index.html') await page.locator('.heat-box canvas').first().waitFor()
            const all = path.startsWith('api/') ? accessibility : undefined
            for (const colorScheme of schemes) {
              await page.emulateMedia({ colorScheme })
              expect(await page.evaluate('[document.scrollingElement.scrollWidth, innerWidth]')).toEqual([width, width])
              // Dark colours change nothing but contrast.
              expect(await violationsOn(page, colorScheme === 'dark' ? ['color-contrast'] : all)).toEqual([])
            }
          },
          { viewport: { width, height: 844 }, colorScheme: schemes[0] },
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
    expect(await fastestOf(3, 'index.html', 'document.querySelector(".heat-box canvas")?.width > 300')).toBeLessThan(
      2_000,
    )
  })

  describe('the article', () => {
    const picture = (page: Page, name: string) => page.locator(`.explore-box[data-picture="${name}"]`)
    const guessOf = (page: Page, lesson: string) => page.locator(`.guess[data-lesson="${lesson}"]`)

    /** Tokens that full experts refuse, counted from the recorded choices; a token is struck out if none takes it. */
    function struckIn(
      run: keyof typeof runs,
      layer: number,
      room: (tokens: number, choices: number) => number,
    ): number {
      const { experts, choices, tokens } = runs[run].text
      const taken = new Map<number, number>()
      const capacity = room(tokens.length, choices)
      return tokens.filter((_, token) => {
        const kept = (experts[layer] ?? []).slice(token * choices, (token + 1) * choices).filter((expert) => {
          taken.set(expert, (taken.get(expert) ?? 0) + 1)
          return (taken.get(expert) ?? 0) <= capacity
        })
        return kept.length === 0
      }).length
    }

    test('the slider strikes out as many tokens as the formula of the capacity says', () =>
      open('m6t.html', async (page) => {
        const box = picture(page, 'capacity')
        const slider = box.getByRole('slider', { name: /Capacity factor/ })
        const struck = box.locator('.refused-text s')
        const seen: number[] = []
        for (const factor of [0.25, 1, 1.25, 4]) {
          await slider.fill(String(factor))
          const expected = struckIn('top-1', 1, (tokens) => Math.ceil((tokens / 16) * factor - 1e-9))
          expect(await struck.count(), `factor ${factor}`).toBe(expected)
          seen.push(expected)
        }
        expect(new Set(seen).size).toBeGreaterThan(2)
        await slider.fill('1')
        await box.getByRole('radio', { name: 'top-2' }).check()
        await box.getByRole('radio', { name: 'one choice (1x)' }).check()
        expect(await struck.count()).toBe(struckIn('top-2', 1, (tokens) => Math.ceil(tokens / 16)))
        await box.getByRole('radio', { name: 'both choices (kx)' }).check()
        expect(await struck.count()).toBe(struckIn('top-2', 1, (tokens, k) => Math.ceil((k * tokens) / 16)))
      }))

    test('the slider moves by keys', () =>
      open('m6t.html', async (page) => {
        const slider = picture(page, 'capacity').getByRole('slider')
        await slider.focus()
        await page.keyboard.press('ArrowLeft')
        expect(await slider.inputValue()).toBe('1')
        expect(await picture(page, 'capacity').locator('.explore-caption').textContent()).toContain('16 · 1⌉')
      }))

    test('a guess reveals the answer of the study, with its interval', () =>
      open('m6t.html', async (page) => {
        const guess = guessOf(page, 'attention')
        expect(await guess.getByRole('table').isVisible()).toBe(false)
        await guess.getByText('It is not', { exact: true }).click()
        expect(await textOf(guess.locator('.guess-result'))).toBe(
          'You guessed that it is not true here. The answer: it is true here.',
        )
        const findings = readFileSync(inRepository('docs/findings.md'), 'utf8')
        const [, effect, interval] =
          /MoE attention harms under plain routing.*?\*\*holds\*\*: (\S+) \((.+?)\)/.exec(findings) ?? []
        const row = guess.getByRole('row').nth(1)
        expect(await row.locator('td').allInnerTexts()).toEqual([
          expect.any(String),
          `${effect} (${interval})`,
          'holds',
        ])
        await guess.getByText('It is true here', { exact: true }).click()
        // Answers are corrected for all claims, of which a lesson shows one or two.
        expect(await textOf(guessOf(page, 'k').locator('.aside'))).toContain('for all 10 claims of the study')
        expect(await textOf(guess.locator('.guess-result'))).toBe('As you guessed, it is true here.')
      }))

    test('the address has what a reader chose, and a link restores it', async () => {
      let query = ''
      await open('m6t.html', async (page) => {
        await picture(page, 'capacity').getByRole('slider').fill('0.5')
        await picture(page, 'capacity').getByRole('radio', { name: 'top-1, no balancing loss' }).check()
        await guessOf(page, 'k').getByText('It is true here').click()
        await picture(page, 'k').getByRole('radio', { name: 'top-2' }).check()
        query = new URL(page.url()).search
      })
      await open(`m6t.html${query}#3-capacity`, async (page) => {
        expect(await picture(page, 'capacity').getByRole('slider').inputValue()).toBe('0.5')
        expect(
          await picture(page, 'capacity').getByRole('radio', { name: 'top-1, no balancing loss' }).isChecked(),
        ).toBe(true)
        expect(await picture(page, 'k').getByRole('radio', { name: 'top-2' }).isChecked()).toBe(true)
        expect(await guessOf(page, 'k').locator('details').getAttribute('open')).toBe('')
        await picture(page, 'k').getByRole('radio', { name: 'top-1' }).check()
        expect(new URL(page.url()).hash).toBe('#3-capacity')
      })
    })

    test('without JavaScript it has its text, its questions to unfold and its figures', () =>
      open(
        'm6t.html',
        async (page) => {
          await page.getByRole('heading', { name: '6. Size and speed' }).waitFor()
          const guess = guessOf(page, 'imbalance')
          await guess.locator('summary').click()
          await guess.getByRole('table').waitFor()
          expect(await guess.getByRole('radio').count()).toBe(0)
        },
        { javaScriptEnabled: false },
      ))

    test('a lesson opens in choir play with its settings', () =>
      open('m6t.html', async (page) => {
        const links = page.getByRole('link', { name: 'Train it in this browser' })
        expect(await links.count()).toBe(5)
        await links.nth(3).click()
        const sides = page.locator('fieldset.setting')
        await sides.first().waitFor()
        expect(await sides.nth(0).getByLabel('Factor').inputValue()).toBe('0.5')
        expect(await sides.nth(1).getByLabel('Factor').inputValue()).toBe('2')
      }))

    test('the first picture is there within two seconds', async () => {
      const isDrawn = 'document.querySelector(".router-picture .choice")?.getBoundingClientRect().width > 50'
      expect(await fastestOf(3, 'm6t.html', isDrawn)).toBeLessThan(2_000)
    })
  })

  test.each([
    ['a guide by a word in it', 'prototypes', 'docs/routing.html'],
    ['a file that a page links to by its name', 'by-table', 'examples/routers/by-table.ts.html'],
  ])('the search finds %s', (_, words, found) =>
    open('index.html', async (page) => {
      await page.getByRole('button', { name: 'Search' }).click()
      await page.getByRole('combobox', { name: /search/i }).fill(words)
      const results = page.locator('#tsd-search-results a')
      await expect
        .poll(
          async () =>
            (await results.evaluateAll((links) => links.map((a) => (a as unknown as { href: string }).href))).join(' '),
          soon,
        )
        .toContain(found)
    }),
  )

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
