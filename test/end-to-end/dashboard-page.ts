/**
 * Helpers to use the dashboard in Chromium, by labels and roles. A visit fails if the page logs an error, opens a
 * dialog, or sends a request to another server.
 */
import { readFileSync } from 'node:fs'
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core'
import { expect } from 'vitest'
import { findChromium } from '../../bench/support/browser.ts'
import type { ChoirProcess, Line, Workspace } from './support.ts'

export const chromium = findChromium()
export const named = (name: string) =>
  chromium === undefined ? `${name} (skipped: Chromium not found; set CHOIR_CHROMIUM)` : name

/** Long enough for a file to be written, noticed, read and shown. */
export const soon = { timeout: 15_000, interval: 100 }

export interface Watching {
  readonly running: ChoirProcess
  readonly address: string
}

/** Starts `choir watch` or `choir train --watch`, and waits until it serves. */
export async function watching(workspace: Workspace, ...args: string[]): Promise<Watching> {
  const running = workspace.start(...args, '--json')
  return { running, address: addressIn(await running.line(({ kind }) => kind === 'watch')) }
}

const addressIn = ({ address }: Line): string => new URL(String(address)).href

export interface VisitOptions extends BrowserContextOptions {
  /** Console errors that do not fail the visit. */
  readonly allowedErrors?: RegExp
}

export async function visit(
  browser: Browser,
  address: string,
  use: (page: Page) => Promise<void>,
  { allowedErrors, ...options }: VisitOptions = {},
): Promise<void> {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, ...options })
  try {
    const problems: string[] = []
    const page = await context.newPage()
    page.setDefaultTimeout(soon.timeout)
    page.on('console', (message) => {
      if (message.type() === 'error' && !allowedErrors?.test(message.text())) problems.push(message.text())
    })
    page.on('pageerror', (error) => problems.push(`uncaught: ${error.message}`))
    page.on('dialog', (dialog) => {
      problems.push(`dialog: ${dialog.message()}`)
      void dialog.dismiss()
    })
    context.on('request', (request) => {
      const { origin, protocol } = new URL(request.url())
      if (protocol !== 'data:' && origin !== new URL(address).origin) problems.push(`asked for ${request.url()}`)
    })
    await page.goto(address)
    await use(page)
    expect(problems).toEqual([])
  } finally {
    await context.close()
  }
}

export const textOf = async (element: Locator): Promise<string> => (await element.textContent()) ?? ''

/** The row of a run in the table. */
export const rowOf = (page: Page, run: string): Locator =>
  page.getByRole('row').filter({ has: page.getByRole('checkbox', { name: `Show ${run}`, exact: true }) })

/** The step in a run's row. */
export async function stepOf(page: Page, run: string): Promise<number> {
  const progress = page.getByRole('progressbar', { name: `${run}: progress`, exact: true })
  return Number(await progress.getAttribute('value'))
}

export const showOnly = (page: Page, run: string): Promise<void> =>
  page.getByTitle(`${run}: show only this run`, { exact: true }).click()

/** Selects the run on the pages of experts and tokens. */
export const pickRun = (page: Page, run: string): Promise<string[]> =>
  page.getByRole('combobox', { name: 'Run', exact: true }).selectOption(run)

export const card = (page: Page, metric: string): Locator => page.locator(`article[data-metric="${metric}"]`)

/** The first row of a card's table: name, last value, its x, minimum, maximum. The card must show its table. */
export async function tableOf(page: Page, metric: string): Promise<string[]> {
  // A card that is not visible is empty.
  await card(page, metric).scrollIntoViewIfNeeded()
  const cells = await card(page, metric).getByRole('row').nth(1).locator('th, td').allInnerTexts()
  return cells.map((cell) => cell.trim())
}

/** Downloads a card as a file. */
export async function downloaded(page: Page, metric: string, kind: string): Promise<Buffer> {
  await card(page, metric).getByLabel('Download').click()
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    card(page, metric).getByRole('button', { name: kind }).click(),
  ])
  return readFileSync(await download.path())
}

/** The used part of a canvas; tests are compiled without DOM types. */
interface Drawn {
  readonly width: number
  readonly height: number
  getBoundingClientRect(): { left: number; top: number; width: number; height: number }
  getContext(kind: '2d'): { getImageData(x: number, y: number, w: number, h: number): { data: Uint8ClampedArray } }
}

/** Lowest and highest pixel of lines and bands in a plot at a share of its width, from 0 to 1, in the light theme. */
export async function inkAt(plot: Locator, share: number): Promise<{ low: number; high: number }> {
  const box = await plot.locator('.u-over').boundingBox()
  if (!box) throw new Error('the plot is not visible')
  const { values, ratio } = await pixelsOf(plot.locator('canvas'), {
    x: box.x + share * (box.width - 1),
    y: box.y,
    width: 1,
    height: box.height,
  })
  // Colours of series may be grey. The grid is lighter than they are.
  const inked = values.flatMap(([red = 0, green = 0, blue = 0, opacity = 0], row) =>
    opacity > 0 && Math.min(red, green, blue) < 200 ? [row] : [],
  )
  const height = box.height * ratio
  return { low: 1 - Math.max(...inked) / height, high: 1 - Math.min(...inked) / height }
}

interface Area {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** Red, green, blue and opacity of a canvas's pixels in this area of the window, row by row. */
export async function pixelsOf(canvas: Locator, area: Area): Promise<{ values: number[][]; ratio: number }> {
  const { data, ratio } = await canvas.evaluate((element, { x, y, width, height }) => {
    const drawn = element as unknown as Drawn
    const { left, top, width: shown } = drawn.getBoundingClientRect()
    const ratio = drawn.width / shown
    const size = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))] as const
    const { data } = drawn.getContext('2d').getImageData((x - left) * ratio, (y - top) * ratio, ...size)
    return { data: Array.from(data), ratio }
  }, area)
  const values = Array.from({ length: data.length / 4 }, (_, pixel) => data.slice(4 * pixel, 4 * pixel + 4))
  return { values, ratio }
}

/** Changes the address and fires `popstate`, as the back button does. Waits until the page has been drawn. */
export const go = (page: Page, query: Record<string, string>): Promise<unknown> =>
  page.evaluate(`history.pushState(null, '', ${JSON.stringify(`?${new URLSearchParams(query)}`)})
    dispatchEvent(new PopStateEvent('popstate'))
    new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))`)

/** The heat map of all experts at one step, and the map of one layer over time. */
export const heatMap = (page: Page): Locator => page.getByRole('application', { name: /^Load of \d+ experts in / })
export const timeMap = (page: Page): Locator => page.getByRole('application', { name: /^Load of the \d+ experts of / })

/** The text that a heat map reads out for the current cell, and the tokens in its tooltip. */
export async function readOut(map: Locator): Promise<{ text: string; tokens: number }> {
  const text = await textOf(map.locator('[aria-live]'))
  const facts = await textOf(map.locator('dl'))
  return { text, tokens: Number(/Tokens([\d,]+)/.exec(facts)?.[1]?.replaceAll(',', '')) }
}

/** Number of different colours in a canvas. */
export const coloursOf = (canvas: Locator): Promise<number> =>
  canvas.evaluate((element) => {
    const drawn = element as unknown as Drawn
    const { width, height } = drawn
    const { data } = drawn.getContext('2d').getImageData(0, 0, width, height)
    return new Set(new Uint32Array(data.buffer)).size
  })
