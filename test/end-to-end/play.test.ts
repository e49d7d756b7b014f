/** `choir play` as a visitor uses it, in Chromium, with WebGPU by SwiftShader. Needs a build. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { unzipRun } from '../../src/browser/run-files.ts'
import { named, violationsOn } from './dashboard-page.ts'
import { type ChoirProcess, expectSuccess, Workspace } from './support.ts'
import { executable, openBrowser } from './web-site.ts'

/** A few pages of text that a small model can learn from. */
const text = Array.from(
  { length: 400 },
  (_, i) =>
    `Chapter ${i}. The ${['whale', 'ship', 'captain', 'sea'][i % 4]} was ${['white', 'old', 'deep', 'grey'][(i * 7) % 4]}, ` +
    `and ${['Ishmael', 'Ahab', 'Queequeg'][i % 3]} went on board before the storm came over the water.`,
).join('\n')

/** SwiftShader compiles and computes on the processor. */
const patience = { timeout: 240_000, interval: 250 }

describe.skipIf(!executable)(named('choir play'), { timeout: 400_000 }, () => {
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

  async function visit(): Promise<Page> {
    const page = await context.newPage()
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

  /** A sum over the pixels of the heat map of a side. */
  const pictureOf = (page: Page, side: string) =>
    page.evaluate(`(() => {
      const canvas = document.querySelector('section[aria-label="Experts of ${side}"] canvas')
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
      return data.reduce((sum, value) => (sum * 31 + value) % 1000000007, 0)
    })()`)

  test('two settings train side by side; the run that is saved goes on in Node', async () => {
    const page = await visit()
    await page.getByRole('radio', { name: 'Your own' }).check()
    await page.getByLabel('Your text').fill(text)
    await page.getByRole('combobox', { name: /^Experts/ }).selectOption('4')
    await page.getByLabel('Steps').fill('24')
    for (const [side, router] of [
      ['A', 'prototype'],
      ['B', 'dense'],
    ] as const) {
      const group = page.getByRole('group', { name: side, exact: true })
      await group.getByRole('combobox', { name: /^Router/ }).selectOption(router)
    }
    expect(await violationsOn(page)).toEqual([])
    await page.getByRole('button', { name: 'Train', exact: true }).click()

    await expect.poll(() => stepOf(page, 'A'), patience).toBeGreaterThan(0)
    await expect.poll(() => stepOf(page, 'B'), patience).toBeGreaterThan(0)
    const [first, picture] = [await lossOf(page, 'A'), await pictureOf(page, 'A')]
    await expect.poll(() => pictureOf(page, 'A'), patience).not.toBe(picture)
    // While it trains: tokens in colours, two choices of prototypes, and text.
    const trace = page.getByRole('region', { name: /^Routing of A/ })
    await expect.poll(() => trace.locator('.t').count(), patience).toBeGreaterThan(20)
    expect(await trace.getByLabel('Colour by').locator('option').allTextContents()).toEqual([
      'prototype 0',
      'prototype 1',
    ])
    await page.getByRole('button', { name: 'Write' }).click()
    const written = page.getByRole('region', { name: 'Text of A' }).locator('.written')
    await expect
      .poll(async () => (await written.count()) > 0 && (await written.textContent())?.length, patience)
      .toBeGreaterThan(5)

    await expect.poll(() => stepOf(page, 'A'), patience).toBeGreaterThan(9)
    await page.getByRole('button', { name: 'Pause' }).click()
    await reaches(page, 'A', /paused/)
    await reaches(page, 'B', /paused|finished/)
    expect(await lossOf(page, 'A')).toBeLessThan(0.95 * first)
    expect(await violationsOn(page)).toEqual([])

    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Save A' }).click(),
    ])
    const run = workspace.file('from-page')
    for (const [path, bytes] of unzipRun(await readStream(await download.createReadStream()))) {
      mkdirSync(join(run, path, '..'), { recursive: true })
      writeFileSync(join(run, path), bytes)
    }
    const step = await stepOf(page, 'A')
    const resumed = await expectSuccess(workspace.start('train', '--resume', run, '--threads', '1', '--json'))
    const steps = resumed.stdout
      .split('\n')
      .flatMap((line) => (line.startsWith('{"kind":"train"') ? [JSON.parse(line)] : []))
    expect(steps[0].step).toBe(step + 1)
    expect(steps.at(-1).step).toBe(24)
    expect(steps.at(-1).loss).toBeLessThan(first)
    expect(problems).toEqual([])
    await page.close()
  })

  test('after the tab was closed the stored runs can be opened, and go on', async () => {
    const page = await visit()
    await page.getByRole('button', { name: 'Open the stored runs' }).click()
    await reaches(page, 'A', /paused/)
    const step = await stepOf(page, 'A')
    expect(step).toBeGreaterThan(9)
    await reaches(page, 'B', /paused|finished/)
    await page.getByRole('button', { name: 'Continue' }).click()
    await expect.poll(() => stepOf(page, 'A'), patience).toBeGreaterThan(step)
    expect(problems).toEqual([])
    await page.close()
  })

  test('bad files are refused with a message, and what is open stays usable', async () => {
    const page = await visit()
    await page.getByRole('radio', { name: 'Your own' }).check()
    await page.getByLabel('Your text').fill('too short')
    await page.getByLabel('Compare with a second setting').uncheck()
    await page.getByRole('button', { name: 'Train', exact: true }).click()
    await reaches(page, 'A', /failed/)
    expect(await phaseOf(page, 'A').getByRole('alert').textContent()).not.toBe('')
    await page.getByLabel('Open a run').setInputFiles({
      name: 'notes.zip',
      mimeType: 'application/zip',
      buffer: Buffer.from('this is no zip file'),
    })
    await expect
      .poll(() => phaseOf(page, 'A').getByRole('alert').textContent(), patience)
      .toContain('not a zip file that can be read')
    expect(problems).toEqual([])
    await page.close()
  })

  test('a browser without WebGPU is told which have it', async () => {
    const plain = await chromium.launch({
      executablePath: executable as string,
      args: ['--no-sandbox', '--disable-features=WebGPU', '--disable-gpu'],
    })
    try {
      const page = await plain.newPage()
      await page.addInitScript('delete Navigator.prototype.gpu')
      await page.goto(address)
      await expect
        .poll(() => page.getByRole('alert').textContent(), patience)
        .toMatch(/no WebGPU.*Chrome.*Safari.*Firefox/s)
      expect(await page.getByRole('button', { name: 'Train', exact: true }).isDisabled()).toBe(true)
    } finally {
      await plain.close()
    }
  })

  test('the guide to routing comes with the page, and every lesson leads to a section of it', async () => {
    const page = await visit()
    const found = await page.locator('.lessons a').all()
    const links = await Promise.all(found.map(async (link) => (await link.getAttribute('href')) ?? ''))
    expect(links).toHaveLength(6)
    for (const link of links) {
      await page.goto(new URL(link, address).href)
      expect(await page.locator(new URL(link, address).hash).count(), link).toBe(1)
    }
    expect(problems).toEqual([])
    await page.close()
  })
})

async function readStream(stream: NodeJS.ReadableStream): Promise<Uint8Array> {
  const parts: Buffer[] = []
  for await (const part of stream) parts.push(part as Buffer)
  return new Uint8Array(Buffer.concat(parts))
}
