/**
 * The dashboard as someone looks at it: in a Chromium, by what a label or a role says. A visit in which the page
 * complains in the console, opens a dialog, or asks another server for something has failed, whatever it showed.
 */
import { readFileSync } from 'node:fs'
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core'
import { expect } from 'vitest'
import { findChromium } from '../../bench/support/browser.ts'
import type { Line, Running, Workspace } from './support.ts'

export const chromium = findChromium()
export const named = (name: string) =>
  chromium === undefined ? `${name} (skipped: no Chromium here; CHOIR_CHROMIUM can name one)` : name

/** For what the page shows only after a file was written, noticed and read. */
export const soon = { timeout: 15_000, interval: 100 }

export interface Watching {
  readonly running: Running
  readonly address: string
}

/** `choir watch` or `choir train --watch`, once it serves. */
export async function watching(workspace: Workspace, ...args: string[]): Promise<Watching> {
  const running = workspace.start(...args, '--json')
  return { running, address: addressIn(await running.line(({ kind }) => kind === 'watch')) }
}

const addressIn = ({ address }: Line): string => new URL(String(address)).href

export interface VisitOptions extends BrowserContextOptions {
  /** What the console may say of a server that is away. */
  readonly mayComplain?: RegExp
}

export async function visit(
  browser: Browser,
  address: string,
  look: (page: Page) => Promise<void>,
  { mayComplain, ...options }: VisitOptions = {},
): Promise<void> {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, ...options })
  try {
    const problems: string[] = []
    const page = await context.newPage()
    page.setDefaultTimeout(soon.timeout)
    page.on('console', (message) => {
      if (message.type() === 'error' && !mayComplain?.test(message.text())) problems.push(message.text())
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
    await look(page)
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

/** On the pages of experts and of tokens, which show one run. */
export const pickRun = (page: Page, run: string): Promise<string[]> =>
  page.getByRole('combobox', { name: 'Run', exact: true }).selectOption(run)

export const card = (page: Page, metric: string): Locator => page.getByRole('article', { name: metric, exact: true })

/** The row of a card's table: name, last value, its place, least, greatest. The card must show its table. */
export async function tableOf(page: Page, metric: string): Promise<string[]> {
  // Out of sight a card is empty.
  await card(page, metric).scrollIntoViewIfNeeded()
  const cells = await card(page, metric).getByRole('row').nth(1).locator('th, td').allInnerTexts()
  return cells.map((cell) => cell.trim())
}

/** What a card hands to the browser as a file. */
export async function downloaded(page: Page, metric: string, kind: string): Promise<Buffer> {
  await card(page, metric).getByLabel('Download').click()
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    card(page, metric).getByRole('button', { name: kind }).click(),
  ])
  return readFileSync(await download.path())
}

/** What is used of a canvas and its surroundings; tests know no types of browsers. */
interface Drawn {
  readonly width: number
  readonly height: number
  getBoundingClientRect(): { left: number; top: number; width: number; height: number }
  getContext(kind: '2d'): { getImageData(x: number, y: number, w: number, h: number): { data: Uint8ClampedArray } }
}

/** Where colour is in a plot's box, `share` of the way along it: from the lowest to the highest, 0 to 1. Its grid is grey. */
export async function inkAt(plot: Locator, share: number): Promise<{ low: number; high: number }> {
  const box = await plot.locator('.u-over').boundingBox()
  if (!box) throw new Error('the plot is not in sight')
  const { values, ratio } = await pixelsOf(plot.locator('canvas'), {
    x: box.x + share * (box.width - 1),
    y: box.y,
    width: 1,
    height: box.height,
  })
  const coloured = values.flatMap(([red = 0, green = 0, blue = 0], row) =>
    Math.max(red, green, blue) - Math.min(red, green, blue) > 30 ? [row] : [],
  )
  const height = box.height * ratio
  return { low: 1 - Math.max(...coloured) / height, high: 1 - Math.min(...coloured) / height }
}

interface Area {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** Red, green, blue and opacity of the pixels of a canvas that lie in this part of the window, row by row. */
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

export const heatMap = (page: Page): Locator => page.getByRole('application', { name: /^Load of / })

/** What the heat map says of the cell that the keys came to, and the tokens that it shows beside it. */
export async function heard(page: Page): Promise<{ said: string; tokens: number }> {
  const said = await textOf(heatMap(page).locator('[aria-live]'))
  const facts = await textOf(heatMap(page).locator('dl'))
  return { said, tokens: Number(/Tokens([\d,]+)/.exec(facts)?.[1]?.replaceAll(',', '')) }
}

/** Colours of a canvas, as many as it has. */
export const coloursOf = (canvas: Locator): Promise<number> =>
  canvas.evaluate((element) => {
    const drawn = element as unknown as Drawn
    const { width, height } = drawn
    const { data } = drawn.getContext('2d').getImageData(0, 0, width, height)
    return new Set(new Uint32Array(data.buffer)).size
  })
