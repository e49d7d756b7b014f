/**
 * `choir play` as a visitor uses it: training, saving, files, and browsers without WebGPU. Needs a build.
 *
 * @slow
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { unzipRun } from '../../src/faces/browser/run-files.ts'
import { violationsOn } from './accessible.ts'
import { named } from './dashboard-page.ts'
import { patience, playSite, text } from './play-page.ts'
import { expectSuccess } from './support.ts'
import { executable } from './web-site.ts'

describe.skipIf(!executable)(named('choir play'), { timeout: 400_000 }, () => {
  const { workspace, problems, address, visit, phaseOf, reaches, stepOf, lossOf } = playSite()

  /** A checksum of the pixels of a side's heat map. */
  const pictureOf = (page: Page, side: string) =>
    page.evaluate(`(() => {
      const canvas = document.querySelector('section[aria-label="Experts of ${side}"] canvas')
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
      return data.reduce((sum, value) => (sum * 31 + value) % 1000000007, 0)
    })()`)

  /** The texts of an element of both sides, read at one moment. */
  const pairOf = (page: Page, selector: string): Promise<string[]> =>
    page.locator(`[data-side][data-phase] ${selector}`).allTextContents()
  const areEqual = ([one, other]: string[]) => one !== undefined && one === other

  /** The step in the name of a side's file. */
  async function savedStep(page: Page, side: string): Promise<number> {
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: `Save ${side}` }).click(),
    ])
    return Number(/step-(\d+)\.zip$/.exec(download.suggestedFilename())?.[1])
  }

  test('two settings train side by side, and the saved run goes on in Node', async () => {
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
    const [begun, first, picture] = [await stepOf(page, 'A'), await lossOf(page, 'A'), await pictureOf(page, 'A')]
    await expect.poll(() => pictureOf(page, 'A'), patience).not.toBe(picture)
    // While it trains, the page shows tokens in colours, two choices of prototypes, and generated text.
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

    await expect.poll(() => stepOf(page, 'A'), patience).toBeGreaterThan(begun + 3)
    // The dense side is cheaper, and would run ahead.
    expect(await pairOf(page, 'dl > div:has(dt:text-is("step")) dd')).toSatisfy(areEqual)
    await page.getByRole('button', { name: 'Pause' }).click()
    await reaches(page, 'A', /paused/)
    await reaches(page, 'B', /paused|finished/)
    const saved = await Promise.all(['A', 'B'].map((side) => savedStep(page, side)))
    expect(Math.abs((saved[0] ?? 0) - (saved[1] ?? 0))).toBeLessThanOrEqual(1)
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
    expect(step).toBeGreaterThan(3)
    await page.getByRole('button', { name: 'Continue' }).click()
    await expect.poll(() => stepOf(page, 'A'), patience).toBeGreaterThan(step)
    expect(problems).toEqual([])
    await page.close()
  })

  test('a text that is too short and a bad file are refused with a message, and the page stays usable', async () => {
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

  test('a browser without WebGPU shows which browsers have it', async () => {
    const page = await visit('delete Navigator.prototype.gpu')
    await expect
      .poll(() => page.getByRole('alert').textContent(), patience)
      .toMatch(/no WebGPU.*Chrome.*Safari.*Firefox/s)
    for (const name of ['Train', 'Try it']) {
      await page.getByRole('button', { name, exact: true }).first().click()
      await page.locator('.banner').getByText('This browser cannot train: there is no WebGPU').waitFor()
    }
    expect(await phaseOf(page, 'A').count()).toBe(0)
    // What a training looks like is shown all the same.
    await expect.poll(() => page.locator('.balancing .heat-box canvas').count(), patience).toBe(2)
    expect(await violationsOn(page)).toEqual([])
    expect(problems).toEqual([])
    await page.close()
  })

  test('the address has every setting, and a link sets up the same experiment', async () => {
    const first = await visit()
    await first.goto(`${address()}?a=k-2&b=router-hash&both=seed-7_steps-50&compare=1`)
    const fields = async (page: Page) => {
      const [a, b] = [
        page.getByRole('group', { name: 'A', exact: true }),
        page.getByRole('group', { name: 'B', exact: true }),
      ]
      return [
        await a.getByRole('combobox', { name: /^k/ }).inputValue(),
        await b.getByRole('combobox', { name: /^Router/ }).inputValue(),
        await page.getByLabel('Seed').inputValue(),
        await page.getByLabel('Steps').inputValue(),
      ]
    }
    expect(await fields(first)).toEqual(['2', 'hash', '7', '50'])
    await first.getByLabel('Seed').fill('8')
    await first.getByLabel('Seed').press('Tab')
    const link = first.url()
    const second = await visit()
    await second.goto(link)
    expect(await fields(second)).toEqual(['2', 'hash', '8', '50'])
    expect(problems).toEqual([])
    await first.close()
    await second.close()
  })

  test('the guide to routing comes with the page, and every lesson leads to a section of it', async () => {
    const page = await visit()
    const found = await page.locator('.lessons a').all()
    const links = await Promise.all(found.map(async (link) => (await link.getAttribute('href')) ?? ''))
    expect(links).toHaveLength(6)
    for (const link of links) {
      await page.goto(new URL(link, address()).href)
      expect(await page.locator(new URL(link, address()).hash).count(), link).toBe(1)
    }
    expect(problems).toEqual([])
    await page.close()
  })

  test('a recorded training plays until the visitor trains, and then the heat maps of both sides have one scale of colours', async () => {
    const page = await visit()
    const slider = page.getByRole('slider', { name: 'Snapshot' })
    await expect.poll(async () => Number(await slider.inputValue().catch(() => 0)), patience).toBeGreaterThan(3)
    await page.getByRole('radio', { name: 'Your own' }).check()
    // A text of a few tokens: by token their experts have several times the mean load, and random loads are even.
    await page.getByLabel('Your text').fill('one two '.repeat(800))
    await page.getByLabel('Compare with a second setting').check()
    for (const [side, router] of [
      ['A', 'hash'],
      ['B', 'random'],
    ] as const) {
      const group = page.getByRole('group', { name: side, exact: true })
      await group.getByRole('combobox', { name: /^Router/ }).selectOption(router)
    }
    await page.getByRole('button', { name: 'Train', exact: true }).click()
    await expect.poll(() => page.locator('.balancing').count(), patience).toBe(0)
    // The trainings are at their own newest step, and not where the replay was.
    expect(new URL(page.url()).searchParams.has('at')).toBe(false)
    await expect.poll(() => stepOf(page, 'A'), patience).toBeGreaterThan(3)
    await page.getByRole('button', { name: 'Pause' }).click()
    await reaches(page, 'A', /paused/)
    await reaches(page, 'B', /paused/)
    await expect.poll(() => page.locator('.legend-scale').count(), patience).toBe(2)
    const scales = await page.locator('.legend-scale').allInnerTexts()
    expect(scales[0]).toMatch(/≥ [48]×/)
    expect(scales[1]).toBe(scales[0])
    expect(problems).toEqual([])
    await page.close()
  })

  test('on a phone, the trainings of a lesson are in sight once it is tried', async () => {
    const page = await visit()
    await page.setViewportSize({ width: 390, height: 844 })
    const top = async () => (await page.getByRole('main').boundingBox())?.y ?? Number.POSITIVE_INFINITY
    await expect.poll(top, patience).toBeGreaterThan(844)
    await page.getByRole('button', { name: 'Try it' }).first().click()
    await expect.poll(() => phaseOf(page, 'A').count(), patience).toBe(1)
    await expect.poll(top, patience).toBeLessThan(844 / 2)
    const { y = 0 } = (await phaseOf(page, 'A').boundingBox()) ?? {}
    expect(y).toBeLessThan(844)
    // The header with its buttons stays where it is.
    expect(await page.locator('.top').boundingBox()).toMatchObject({ y: 0 })
    expect(await page.evaluate('[document.scrollingElement.scrollHeight, innerHeight]')).toEqual([844, 844])
    expect(problems).toEqual([])
    await page.close()
  })
})

async function readStream(stream: NodeJS.ReadableStream): Promise<Uint8Array> {
  const parts: Buffer[] = []
  for await (const part of stream) parts.push(part as Buffer)
  return new Uint8Array(Buffer.concat(parts))
}
