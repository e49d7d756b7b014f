/**
 * The page of ranks: times and loads of known records, a live training over MPI, and accessibility.
 *
 * @slow
 */
import type { Locator, Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { launchers } from '../../src/engine/world/mpi/testing/launch.ts'
import { violationsOn } from './accessible.ts'
import { chromium, named, pickRun, showOnly, soon, textOf } from './dashboard-page.ts'
import { makeRun } from './dashboard-runs.ts'
import { siteOf } from './dashboard-site.ts'

const STEPS = 30

/** Rank 2 becomes slow after step 10; each step is 100 ms long, and then 150 ms. */
const ranks = Array.from({ length: STEPS }, (_, step) => {
  const slow = step >= 10
  return {
    compute_ms: slow ? [80, 82, 140, 78] : [80, 82, 84, 78],
    all_to_all_ms: [4, 4, 4, 4],
    all_reduce_ms: [6, 6, 6, 6],
    wait_ms: slow ? [60, 58, 0, 62] : [10, 8, 6, 12],
    waited_for_ms: slow ? [0, 0, 60, 0] : [0, 0, 9, 0],
    kept_per_rank: [100, 100, 150, 50],
  }
})

const row = (page: Page, rank: number): Locator =>
  page
    .getByRole('region', { name: 'Ranks' })
    .getByRole('row')
    .filter({ has: page.getByRole('rowheader', { name: String(rank), exact: true }) })
const cells = (of: Locator): Promise<string[]> => of.getByRole('cell').allInnerTexts()
/** Widths of the parts of a bar, in milliseconds: the whole column is a step of 150 ms. */
const widths = (of: Locator): Promise<number[]> =>
  of.locator('.stack').evaluate((bar) => {
    type Box = { getBoundingClientRect(): { width: number } }
    const { children } = bar as unknown as Box & { children: Iterable<Box> }
    const whole = (bar as unknown as Box).getBoundingClientRect().width
    return [...children].map((part) => Math.round((150 * part.getBoundingClientRect().width) / whole))
  })

describe.skipIf(chromium === undefined)(named('ranks on the dashboard'), { timeout: 60_000 }, () => {
  const site = siteOf(async (workspace) => {
    const train = Array.from({ length: STEPS }, () => ({}))
    await makeRun(workspace, 'alone', { train })
    await makeRun(workspace, 'four', { train, ranks, hosts: ['a', 'a', 'b', 'b'] })
    await makeRun(workspace, 'two', { train, ranks: train.map(() => ({ compute_ms: [5, 6], wait_ms: [1, 0] })) })
  })

  test('a row has the times of its rank over the last steps, as a bar and in numbers, and its load', () =>
    site.on('page=ranks', async (page) => {
      await pickRun(page, 'four')
      await expect.poll(() => cells(row(page, 2)), soon).toEqual(['b', '', '140', '4.00', '6.00', '0', '60.0', '1.50×'])
      expect(await cells(row(page, 0))).toEqual(['a', '', '80.0', '4.00', '6.00', '60.0', '0', '1.00×'])
      expect(await widths(row(page, 2))).toEqual([140, 4, 6, 0])
      expect(await widths(row(page, 0))).toEqual([80, 4, 6, 60])
      const region = page.getByRole('region', { name: 'Ranks' })
      expect(await textOf(region.getByRole('heading'))).toBe('4 ranks, steps 11 to 30')
      const text = await textOf(region)
      expect(text).toContain('A step takes 150 ms: computing 63 %, all-to-all 3 %, all-reduce 4 %, waiting 30 %')
      expect(text).toContain(
        'Rank 2 (b, PID 102) computes 1.75 times as long as the median of the other ranks; they wait 40 % of a step for it.',
      )
    }))

  test('any step can be shown, and its number is in the address', () =>
    site.on('page=ranks', async (page) => {
      await pickRun(page, 'four')
      await page.getByRole('radio', { name: 'One step' }).check()
      const slider = page.getByRole('slider', { name: 'Last step' })
      await slider.press('Home')
      await expect.poll(() => page.getByRole('heading', { name: '4 ranks, step 1', exact: true }).count(), soon).toBe(1)
      expect(await cells(row(page, 2))).toEqual(['b', '', '84.0', '4.00', '6.00', '6.00', '9.00', '1.50×'])
      expect(await page.locator('.ranks-slow').count()).toBe(0)
      expect(page.url()).toContain('until=1')
      await page.reload()
      await page.getByRole('heading', { name: '4 ranks, step 1', exact: true }).waitFor()
      await page.getByRole('button', { name: 'Newest' }).click()
      await page.getByRole('heading', { name: '4 ranks, step 30', exact: true }).waitFor()
    }))

  test('a run whose ranks have all experts shows no load, and a run of a single process no ranks', () =>
    site.on('page=ranks', async (page) => {
      await pickRun(page, 'two')
      await expect.poll(() => cells(row(page, 1)), soon).toEqual(['', '6.00', '0', '0', '0', '0'])
      expect(await page.getByRole('columnheader', { name: 'Load' }).count()).toBe(0)
      const options = await page.getByRole('combobox', { name: 'Run', exact: true }).getByRole('option').allInnerTexts()
      expect(options).toEqual(['four', 'two'])
      await page.goto(`${site.server.address}?page=ranks`)
      await showOnly(page, 'alone')
      await page.getByText('The shown runs are of a single process').waitFor()
    }))

  test.each([
    ['light', 1400],
    ['dark', 390],
  ] as const)('the page has no accessibility violations and fits the screen: %s, %i pixels', (colorScheme, width) =>
    site.on(
      'page=ranks',
      async (page) => {
        await pickRun(page, 'four')
        await row(page, 2).waitFor()
        expect(await violationsOn(page)).toEqual([])
        expect(await page.evaluate('document.scrollingElement.scrollWidth')).toBeLessThanOrEqual(width)
      },
      { colorScheme, viewport: { width, height: 844 } },
    ),
  )

  const [family] = launchers.keys()
  test.skipIf(!family)('a training over MPI is shown while it runs', { timeout: 120_000 }, async () => {
    const { workspace } = site
    const config = workspace.config({ train: { batch: 8, steps: 5000 }, parallel: { expert: 2 } })
    const path = ['--out', 'runs/live', '--json', '--deadline', '60']
    const job = workspace.startRanks(family as 'Open MPI', 2, 'train', config, ...path)
    try {
      await job.step(3)
      await site.on('page=ranks', async (page) => {
        await pickRun(page, 'live')
        await row(page, 1).waitFor()
        const step = async () => Number((await textOf(page.locator('.ranks-slider b'))).replaceAll(',', ''))
        const before = await step()
        await expect.poll(step, soon).toBeGreaterThan(before)
        const times = (await cells(row(page, 0))).slice(1, 5).map(Number)
        expect(times.every((ms) => ms >= 0)).toBe(true)
        expect(times[0]).toBeGreaterThan(0)
      })
    } finally {
      job.kill('SIGUSR1')
      await job.ended
    }
  })
})
