/** The dashboard for all eyes, and for ears: on a narrow screen, in the light and in the dark, by the names of things. */
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { card, chromium, heatMap, named, pickRun, rowOf } from './dashboard-page.ts'
import { siteOf } from './dashboard-site.ts'
import { finished } from './support.ts'

describe.skipIf(chromium === undefined)(named('the dashboard for all eyes and ears'), { timeout: 60_000 }, () => {
  const site = siteOf(async (workspace) => {
    for (const [name, k] of [
      ['good', 1],
      ['other', 2],
    ] as const) {
      const config = workspace.config({ model: { moe: { experts: 8, router: 'prototype', prototypes: 2, k } } })
      await finished(workspace.start('train', config, '--out', `runs/${name}`))
    }
  })

  test.each(['curves', 'experts', 'tokens'])(
    '%s fits a narrow screen, is dark in the dark, and all has a name',
    (name) =>
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
          expect(await nameless(page)).toEqual([])
          await page.getByRole('button', { name: 'Runs', exact: true }).click()
          await rowOf(page, 'good').waitFor()
          expect(await nameless(page)).toEqual([])
          expect(await page.evaluate('document.scrollingElement.scrollWidth')).toBeLessThanOrEqual(screen)
        },
        { viewport: { width: 390, height: 844 }, colorScheme: 'dark' },
      ),
  )

  test.each(
    (['light', 'dark'] as const).flatMap((scheme) => Object.keys(pages).map((name) => [name, scheme] as const)),
  )('all text of %s can be told from what it stands on: %s', (name, colorScheme) =>
    site.on(
      `page=${name}`,
      async (page) => {
        await rowOf(page, 'good').waitFor()
        const states = pages[name as keyof typeof pages](page)
        for await (const state of states) {
          const texts = await textsOf(page)
          expect(texts.length, state).toBeGreaterThan(20)
          const faint = texts.filter(({ contrast }) => contrast < 4.5)
          const said = faint.map(({ text, where, contrast }) => [`${where} ${contrast}`, text] as const)
          // One of each kind.
          expect.soft(Object.fromEntries(said), state).toEqual({})
        }
      },
      { colorScheme },
    ),
  )
})

/** Brings a page to what there is on it, one after the other. */
const pages = {
  async *curves(page: Page) {
    await page.getByLabel('Filter the runs').fill('no.such.field=1')
    await page.getByText('Columns').click()
    yield 'a filter that is wrong, and a menu'
    await page.keyboard.press('Escape')
    await page.getByLabel('Filter the runs').fill('')
    await card(page, 'train/drop_rate').getByRole('button', { name: 'Show as table' }).click()
    await card(page, 'train/loss').getByRole('img').hover()
    await page.locator('.tip').waitFor()
    yield 'curves, a table and a tip'
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
    yield 'layers, and an expert'
    await page.getByRole('radio', { name: 'Experts over time' }).check()
    await heatMap(page).press('Home')
    await page.locator('.heat-tip').waitFor()
    yield 'experts over time'
  },
  async *tokens(page: Page) {
    await page.getByRole('checkbox', { name: 'Expert numbers' }).check()
    await page.getByRole('combobox', { name: 'Beside it' }).selectOption('other')
    await page.getByRole('application', { name: 'Text as other routes it' }).waitFor()
    await page.getByRole('application', { name: 'Text as good routes it' }).press('ArrowRight')
    await page.locator('.detail:not(.detail-hint)').first().waitFor()
    yield 'a text in two runs'
    await page.getByRole('radio', { name: 'Your own' }).check()
    yield 'a text of one’s own'
  },
}

interface Text {
  readonly text: string
  readonly where: string
  readonly contrast: number
}

/**
 * Contrast of each text in sight (WCAG 2.2, 1.4.3): its colour against the backgrounds behind it, with all that is
 * translucent. What is disabled, or for ears alone, does not count.
 */
const textsOf = (page: Page): Promise<Text[]> =>
  page.evaluate(`(() => {
    const paper = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
    const known = new Map()
    const parts = (css) => {
      if (known.has(css)) return known.get(css)
      paper.clearRect(0, 0, 1, 1)
      paper.fillStyle = css
      paper.fillRect(0, 0, 1, 1)
      const [r, g, b, a] = paper.getImageData(0, 0, 1, 1).data
      known.set(css, [r, g, b, a / 255])
      return known.get(css)
    }
    const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)]
    const behind = (element) =>
      element ? over(parts(getComputedStyle(element).backgroundColor), behind(element.parentElement)) : [255, 255, 255]
    const opacity = (element) => (element ? getComputedStyle(element).opacity * opacity(element.parentElement) : 1)
    const light = (color) =>
      color
        .map((part) => part / 255)
        .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0)
    const contrastOf = (element, css, shown) => {
      const back = behind(element)
      const [r, g, b, a] = parts(css)
      const lights = [light(over([r, g, b, a * shown * opacity(element)], back)), light(back)].sort((one, other) => one - other)
      return Math.round((100 * (lights[1] + 0.05)) / (lights[0] + 0.05)) / 100
    }
    const isSeen = (element) =>
      element.checkVisibility({ visibilityProperty: true }) && !element.closest('.hidden, .skip, :disabled, option')
    const found = []
    // The number of an expert stands behind a token.
    const after = (element) => {
      const { content, color, opacity } = getComputedStyle(element, '::after')
      if (/^".+"$/.test(content)) add(element, content, color, opacity)
    }
    const add = (element, text, css, shown = 1) =>
      found.push({ text, where: element.tagName + '.' + (element.getAttribute('class') ?? ''), contrast: contrastOf(element, css, shown) })
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (walker.nextNode()) {
      const [element, text] = [walker.currentNode.parentElement, walker.currentNode.data.trim()]
      if (text === '' || !isSeen(element)) continue
      const style = getComputedStyle(element)
      add(element, text, element instanceof SVGElement ? style.fill : style.color)
      after(element)
    }
    for (const field of document.querySelectorAll('input[type=search], select, textarea')) {
      if (!isSeen(field)) continue
      add(field, field.value, getComputedStyle(field).color)
      if (field.placeholder) add(field, field.placeholder, getComputedStyle(field, '::placeholder').color)
    }
    // Text of a canvas is drawn in this colour.
    for (const canvas of document.querySelectorAll('.plot canvas'))
      add(canvas, 'axis', getComputedStyle(document.documentElement).getPropertyValue('--quiet'))
    return found
  })()`)

/** Roles of what people act on or look at, without a name in the tree that browsers give to screen readers. */
async function nameless(page: Page): Promise<string[]> {
  const roles = 'button link checkbox radio textbox searchbox combobox slider spinbutton image progressbar application'
  const cdp = await page.context().newCDPSession(page)
  const { nodes } = await cdp.send('Accessibility.getFullAXTree')
  const named = new Set(roles.split(' '))
  const found = nodes.filter(({ ignored, role }) => !ignored && named.has(String(role?.value)))
  expect(found.length).toBeGreaterThan(5)
  const bare = found
    .filter(({ name }) => String(name?.value ?? '').trim() === '')
    .map(({ role }) => String(role?.value))
  const drawn = await page.evaluate(
    `[...document.querySelectorAll('canvas')].filter((each) => !each.closest('[aria-label]')).map(() => 'canvas')`,
  )
  return [...bare, ...(drawn as string[])]
}
