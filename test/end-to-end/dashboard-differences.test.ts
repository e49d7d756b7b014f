/**
 * Arms compared on the dashboard, on runs with known numbers: verdicts, curves of differences, keys, narrow screens.
 *
 * @slow
 */
import type { Locator, Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { writeArm } from '../../src/node/run/study-arm.ts'
import { violationsOn } from './accessible.ts'
import { card, chromium, downloaded, go, inkAt, named, rowOf, soon, textOf } from './dashboard-page.ts'
import { makeRun } from './dashboard-runs.ts'
import { siteOf } from './dashboard-site.ts'
import type { Workspace } from './support.ts'

const steps = 20
const levels: Readonly<Record<number, number>> = { 1: 3, 2: 3.5, 3: 2.5, 4: 4, 5: 3.2 }
/** Differences of top-2 by seed at the last step; their mean is −0.021. */
const differences: Readonly<Record<number, number>> = { 1: -0.02, 2: -0.022, 3: -0.02, 4: -0.022, 5: 0.7 }

interface Made {
  readonly arm: string
  readonly k: number
  readonly seed: number
  /** Added to the losses of the baseline at steps 10 and 20. */
  readonly plus: number
  readonly done?: number
  readonly failed?: boolean
}

/** Writes a run of the study `small`: its training loss is a straight line that ends at its held-out loss. */
async function make(workspace: Workspace, { arm, k, seed, plus, done = steps, failed = false }: Made): Promise<void> {
  const end = (levels[seed] ?? 0) + plus
  const train = Array.from({ length: done }, (_, i) => ({ loss: end + (steps - i - 1) / 10 }))
  const folder = `small/runs/${arm.replaceAll(' ', '-')}-seed-${seed}-0000000${k}`
  await makeRun(workspace, folder, {
    sets: [`model.moe.k=${k}`, `train.seed=${seed}`, `data.order=${seed}`, 'train.maxNonFinite=1'],
    steps,
    train: failed ? [...train, { loss: null as unknown as number, skipped: true }] : train,
    heldOut: { 10: end + 1, 20: end },
  })
  writeArm(workspace.file('runs', folder), arm)
}

describe.skipIf(chromium === undefined)(named('arms compared on the dashboard'), { timeout: 60_000 }, () => {
  const site = siteOf(async (workspace) => {
    for (const seed of [1, 2, 3, 4, 5]) {
      await make(workspace, { arm: 'top-1', k: 1, seed, plus: 0 })
      const isFailed = seed === 5
      await make(workspace, {
        arm: 'top-2',
        k: 2,
        seed,
        plus: differences[seed] ?? 0,
        ...(isFailed && { done: 15, failed: true }),
      })
    }
    // The first has finished, and the second has one evaluation.
    await make(workspace, { arm: 'all four', k: 4, seed: 1, plus: 0.1 })
    await make(workspace, { arm: 'all four', k: 4, seed: 2, plus: 0.3, done: 12 })
    await makeRun(workspace, 'apart', { sets: ['train.batch=2'], train: [{ loss: 2 }], heldOut: { 1: 2 } })
  })

  const on = (use: (page: Page) => Promise<void>, options = {}) => site.on('smoothing=0', use, options)
  const chooser = (page: Page) => page.getByRole('combobox', { name: /^Compare with/ })
  const panel = (page: Page) => page.getByRole('region', { name: 'Held-out loss compared with top-1' })
  const compare = async (page: Page): Promise<Locator> => {
    await rowOf(page, 'small/top-1, seed 1').waitFor()
    await chooser(page).selectOption({ label: 'small/top-1 (5 seeds)' })
    await panel(page).getByText('4 pairs').waitFor()
    return panel(page)
  }

  test('a baseline gives a verdict on each arm, with the runs that are left out, and stays in the address', () =>
    on(async (page) => {
      const verdicts = await compare(page)
      const items = async () => (await verdicts.getByRole('listitem').allInnerTexts()).map((text) => text.trim())
      await expect.poll(items, soon).toEqual([
        'all four minus top-1 is +0.200 so far, with 2 pairs at step 10 of 20: an interval needs 3',
        // The standard error is 0.0005774, and the interval 6.538 of these on each side.
        'top-2 is lower than top-1 by 0.0210 (0.0172 to 0.0248), 4 pairs at the last step, 20',
      ])
      const text = await textOf(verdicts)
      expect(text).toMatch(/Left out, with their pairs: small\/top-2, seed 5 \(step 16: the loss is /)
      expect(text).toContain('Not compared: apart (')
      const { searchParams } = new URL(page.url())
      expect(searchParams.get('baseline')).toMatch(/^\w+$/)
      await page.reload()
      await panel(page).getByText('4 pairs').waitFor()
      await page.goBack()
      await panel(page).waitFor({ state: 'detached' })
      await expect.poll(() => card(page, 'eval/loss').getAttribute('aria-label'), soon).toBe('Held-out loss')
    }))

  test('cards have arm minus baseline around a zero line, with bands only where three pairs are', () =>
    on(async (page) => {
      await compare(page)
      const held = card(page, 'eval/loss')
      await expect.poll(() => held.getAttribute('aria-label'), soon).toBe('Held-out loss minus top-1')
      const label = () => card(page, 'train/loss').getByRole('img').getAttribute('aria-label')
      await expect
        .poll(label, soon)
        .toBe('Training loss minus top-1 over step, 2 lines. Last values: all four 0.10000, top-2 −0.021000')
      await held.getByRole('button', { name: 'Show as table' }).click()
      const rows = async () => (await held.getByRole('row').allInnerTexts()).map((row) => row.trim().split(/\t\s*/))
      await expect.poll(rows, soon).toEqual([
        ['Arm', 'Last', '95 % interval', 'Pairs', 'at step'],
        ['all four', '0.10000', 'none', '1', '20'],
        ['top-2', '−0.021000', '−0.024775 to −0.017225', '4', '20'],
      ])
      // The lines of training, whose differences are constant: 0.1 and −0.021, or 0.2 while there are two pairs.
      await page.getByRole('checkbox', { name: 'Show small/top-2, seed 1', exact: true }).waitFor()
      const plot = card(page, 'train/loss').getByRole('img')
      await expect.poll(async () => (await inkAt(plot, 0.3)).high, soon).toBeGreaterThan(0.85)
      await expect.poll(async () => (await inkAt(plot, 0.9)).high, soon).toBeLessThan(0.75)
      const csv = (await downloaded(page, 'eval/loss', 'Points (CSV)')).toString().trim().split('\r\n')
      expect(csv.map((row) => row.split(',').toSpliced(3, 4)).slice(1)).toEqual([
        ['small/all four', 'small/top-1', '10', '2'],
        ['small/all four', 'small/top-1', '20', '1'],
        ['small/top-2', 'small/top-1', '10', '4'],
        ['small/top-2', 'small/top-1', '20', '4'],
      ])
    }))

  test('while arms are compared, axes and settings that have no meaning for differences are off', () =>
    on(async (page) => {
      await rowOf(page, 'small/top-1, seed 1').waitFor()
      await page.getByRole('radio', { name: 'FLOPs' }).check()
      await compare(page)
      await expect.poll(() => page.getByRole('radio', { name: 'Step' }).isChecked(), soon).toBe(true)
      for (const name of ['Time', 'FLOPs']) expect(await page.getByRole('radio', { name }).isDisabled()).toBe(true)
      for (const name of ['Log y', 'Bands over seeds'])
        expect(await page.getByRole('checkbox', { name }).isDisabled()).toBe(true)
      await page.getByRole('radio', { name: 'Tokens' }).check()
      await expect
        .poll(() => card(page, 'eval/loss').getByRole('img').getAttribute('aria-label'), soon)
        .toContain('Held-out loss minus top-1 over tokens')
      await chooser(page).selectOption('')
      expect(await page.getByRole('radio', { name: 'Time' }).isDisabled()).toBe(false)
    }))

  test('the filter applies to the comparison, and a hidden baseline is noted', () =>
    on(async (page) => {
      await compare(page)
      await page.getByLabel('Filter the runs').fill('seed=1')
      await panel(page).getByText('one pair has no interval').first().waitFor()
      await page.getByLabel('Filter the runs').fill('k=2')
      await page.getByText('There is no second arm to compare among the shown runs.').waitFor()
      await page.getByLabel('Filter the runs').fill('k!=1')
      await page.getByText('No run of the baseline is shown, so the curves are not compared.').waitFor()
      await page.getByRole('button', { name: 'Stop comparing' }).click()
      expect(new URL(page.url()).searchParams.has('baseline')).toBe(false)
    }))

  test('keys choose the baseline, and a run that goes on changes the verdict', () =>
    on(async (page) => {
      await rowOf(page, 'small/top-1, seed 1').waitFor()
      await page.getByRole('main').click({ position: { x: 5, y: 400 } })
      await page.keyboard.press('c')
      expect(await chooser(page).evaluate('document.activeElement.tagName')).toBe('SELECT')
      await page.keyboard.press('ArrowDown')
      await expect.poll(() => new URL(page.url()).searchParams.has('baseline'), soon).toBe(true)
      await compare(page)
      await make(site.workspace, { arm: 'all four', k: 4, seed: 3, plus: 0.2, done: 10 })
      await panel(page)
        .getByText(/all four .*3 pairs at step 10 of 20/)
        .waitFor()
    }))

  test('grouped seeds are one row with mean and spread, can be listed, and have one colour', () =>
    on(async (page) => {
      await rowOf(page, 'small/top-1, seed 1').waitFor()
      await page.getByRole('button', { name: 'Group seeds' }).click()
      const row = rowOf(page, 'small/top-1, all 5 seeds')
      // The mean of 3, 3.5, 2.5, 4 and 3.2.
      await expect.poll(() => textOf(row), soon).toMatch(/5\/5 done.*3\.2402\.500–4\.000/)
      expect(await textOf(rowOf(page, 'small/top-2, all 5 seeds'))).toContain('4/5 done: 4 finished, 1 failed')
      expect(await page.getByRole('checkbox', { name: /^Show small\/top-1, seed/ }).count()).toBe(0)
      await page.getByRole('button', { name: 'Seeds of small/top-1', exact: true }).click()
      await rowOf(page, 'small/top-1, seed 3').waitFor()
      const colours = await page
        .locator('.runs tr:has([aria-label*="top-1"]) .swatch line')
        .evaluateAll((lines) =>
          lines.map((line) => (line as unknown as { getAttribute(name: string): string }).getAttribute('stroke')),
        )
      expect([colours.length, new Set(colours).size]).toEqual([6, 1])
      expect(await violationsOn(page)).toEqual([])

      const label = () => card(page, 'train/loss').getByRole('img').getAttribute('aria-label')
      const count = async () => Number(/(\d+) lines/.exec((await label()) ?? '')?.[1])
      const before = await count()
      await page.getByRole('checkbox', { name: 'Show small/top-1, all 5 seeds', exact: true }).uncheck()
      await expect.poll(count, soon).toBe(before - 5)
      await rowOf(page, 'small/top-1, seed 3').getByRole('checkbox').check()
      await expect.poll(count, soon).toBe(before - 4)
    }))

  test.each([
    [1400, 900, 'light'],
    [390, 844, 'dark'],
  ] as const)('the page has no accessibility violations, and fits a screen of %d × %d', (width, height, colorScheme) =>
    on(
      async (page) => {
        await page.getByRole('article').first().waitFor()
        await chooser(page).selectOption({ label: 'small/top-1 (5 seeds)' })
        await panel(page).getByText('4 pairs').waitFor()
        await panel(page).getByText('The intervals stay valid while you watch').click()
        expect(await violationsOn(page)).toEqual([])
        expect(await page.evaluate('document.scrollingElement.scrollWidth')).toBeLessThanOrEqual(width)
        await go(page, { metric: 'eval/loss', baseline: new URL(page.url()).searchParams.get('baseline') ?? '' })
        await page.getByRole('dialog').getByRole('img').waitFor()
        expect(await violationsOn(page)).toEqual([])
      },
      { viewport: { width, height }, colorScheme },
    ),
  )
})
