/**
 * Experts and tokens on the dashboard, compared with the files of the runs.
 *
 * @slow
 */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { RoutingRecord } from '../../src/core/model/routing/statistics.ts'
import { chromium, coloursOf, heatMap, named, readOut, showOnly, soon, textOf } from './dashboard-page.ts'
import { makeTrace, traced } from './dashboard-runs.ts'
import { siteOf } from './dashboard-site.ts'
import { expectSuccess, type Workspace } from './support.ts'

describe.skipIf(chromium === undefined)(named('experts and tokens on the dashboard'), { timeout: 60_000 }, () => {
  const site = siteOf(async (workspace) => {
    for (const [name, k] of [
      ['one', 1],
      ['two', 2],
    ] as const) {
      const model = { moe: { experts: 8, router: 'prototype', prototypes: 2, k } } as const
      const config = workspace.config({ model, train: { steps: 30, checkpointEvery: 15, routingEvery: 5 } })
      await expectSuccess(workspace.start('train', config, '--out', `runs/${name}`))
    }
    makeTrace(workspace, 'megatron')
  })

  test('the heat map can be navigated by keys, and its loads match routing.jsonl', () =>
    site.on('page=experts', async (page) => {
      await showOnly(page, 'one')
      const map = heatMap(page)
      await expect.poll(() => coloursOf(map.locator('canvas')), soon).toBeGreaterThan(3)
      const scrubber = page.getByRole('slider', { name: 'Snapshot' })
      for (const [key, step] of [
        ['End', 30],
        ['Home', 5],
      ] as const) {
        await scrubber.press(key)
        await expect.poll(() => scrubber.getAttribute('aria-valuetext'), soon).toContain(`step ${step},`)
        for (const key of ['Home', 'ArrowUp', 'ArrowDown', 'ArrowRight', 'ArrowRight']) await map.press(key)
        const { tokens_per_expert: loads, kept_per_expert: kept } = routingOf(site.workspace, 'one', step, 1)
        const tokens = loads[2] ?? Number.NaN
        const mean = loads.reduce((sum, load) => sum + load, 0) / loads.length
        await expect.poll(async () => (await readOut(map)).tokens, soon).toBe(tokens)
        const { text } = await readOut(map)
        expect(text).toContain('layer 1, expert 2: ')
        if (tokens > 0) expect(text).toContain(`${(tokens / mean).toFixed(1)} times the mean`)
        expect(text.includes('none dropped')).toBe(tokens > 0 && kept[2] === tokens)
      }
      await expect.poll(() => new URL(page.url()).searchParams.get('at'), soon).toBe('5')
      await page.getByRole('button', { name: 'Play (space)' }).click()
      await expect.poll(() => scrubber.getAttribute('aria-valuetext'), soon).toContain('step 30,')
    }))

  test('one layer over time has a column per step of routing.jsonl and a row per expert', () =>
    site.on('page=experts', async (page) => {
      await showOnly(page, 'one')
      const map = page.getByRole('application', { name: /^Load of the 8 experts of layer 0 over 6 snapshots/ })
      await expect.poll(() => coloursOf(map.locator('canvas')), soon).toBeGreaterThan(3)
      for (const [key, step] of [
        ['Home', 5],
        ['End', 30],
      ] as const) {
        for (const pressed of ['ArrowDown', key]) await map.press(pressed)
        const expert = key === 'Home' ? 1 : 2
        await expect.poll(async () => (await readOut(map)).text, soon).toContain(`step ${step}, expert ${expert}: `)
        const { tokens_per_expert: loads } = routingOf(site.workspace, 'one', step, 0)
        expect((await readOut(map)).tokens).toBe(loads[expert])
      }
    }))

  test('an expert opens with Enter and shows its most frequent tokens of held-out text', () =>
    site.on('page=experts', async (page) => {
      await showOnly(page, 'one')
      for (const key of ['Home', 'ArrowRight', 'Enter']) await heatMap(page).press(key)
      const panel = page.getByRole('region', { name: 'Expert 1 of layer 0' })
      await panel.getByRole('row').nth(1).waitFor()
      const about = await textOf(panel.getByText(/assignments came here/))
      const assigned = Number(/([\d,]+) assignments/.exec(about)?.[1]?.replaceAll(',', ''))
      const counts = (await panel.getByRole('row').allInnerTexts()).slice(1).map((row) => Number(row.split(/\s+/)[1]))
      expect(about).toContain('At step 30')
      expect(counts[0]).toBeGreaterThan(0)
      expect(counts).toEqual(counts.toSorted((a, b) => b - a))
      expect(counts.reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(assigned)
    }))

  test('the strip of layers has the experts of the first token until another token is pointed at', () =>
    site.on('page=tokens', async (page) => {
      const strip = page.getByRole('radiogroup', { name: 'Layer' })
      await strip.waitFor()
      const layers = await strip
        .getByRole('radio')
        .evaluateAll((buttons) =>
          buttons.map((button) => String((button as unknown as { ariaLabel: string }).ariaLabel)),
        )
      expect(layers).toHaveLength(2)
      for (const label of layers) expect(label).toMatch(/^layer \d, expert \d$/)
      const text = page.getByRole('application', { name: /^Text as / })
      expect(await text.locator('.t').first().getAttribute('data-here')).toBe('')
      await text.press('ArrowRight')
      await expect.poll(() => textOf(page.locator('.detail small')), soon).toBe('token 1')
    }))

  test('every token of a pasted text has an expert, in two runs side by side, and markup stays text', () =>
    site.on('page=tokens', async (page) => {
      const text = 'naïve <img src=x onerror=alert(1)> – of states or not'
      await page.getByRole('combobox', { name: 'Run', exact: true }).selectOption('one')
      await page.getByRole('combobox', { name: 'Compare with' }).selectOption('two')
      await page.getByRole('radio', { name: 'Your own' }).check()
      await page.getByLabel('Your text').fill(text)
      await page.getByRole('button', { name: 'Route it' }).click()
      for (const run of ['one', 'two']) {
        const panel = page.getByRole('region', { name: `Routing of ${run}` })
        const shown = panel.getByRole('application', { name: `Text as ${run} routes it` })
        // Tokens that are spaces, or end within a character, are shown as signs.
        const plain = async () => (await textOf(shown)).replaceAll('·', ' ').replaceAll('◌', '')
        await expect.poll(plain, soon).toBe(text)
        const tokens = Number(/([\d,]+) tokens/.exec(await textOf(panel))?.[1])
        expect(tokens).toBeGreaterThan(40)
        expect(await textOf(panel)).toContain('no capacity limit here, as in generation')
        const legend = await panel
          .getByRole('button', { name: /^Expert \d+ *: / })
          .evaluateAll((buttons) =>
            buttons.map((button) => Number(/: ([\d,]+) tokens/.exec(button.textContent ?? '')?.[1]?.replace(',', ''))),
          )
        expect(legend.reduce((sum, count) => sum + count, 0)).toBe(tokens)
      }
      const detailsOf = (run: string) =>
        textOf(page.getByRole('region', { name: `Routing of ${run}` }).locator('[aria-live]'))
      const detail = (token: number) => new RegExp(`token ${token}\\D.*expert \\d.*\\d\\.\\d{3}`)
      // The two bytes of ï are two tokens, which keys reach like any other; the other run follows.
      for (const token of [1, 2, 3, 4]) {
        await page.getByRole('application', { name: 'Text as one routes it' }).press('ArrowRight')
        for (const run of ['one', 'two']) await expect.poll(() => detailsOf(run), soon).toMatch(detail(token))
      }
      await page.getByRole('application', { name: 'Text as two routes it' }).getByText('<').hover()
      await expect.poll(() => detailsOf('two'), soon).toMatch(detail(7))
      expect(await page.getByRole('main').locator('img').count()).toBe(0)
    }))

  test('a router trace of Megatron-Core is one run, with the sums over all ranks', () =>
    site.on('page=experts', async (page) => {
      await showOnly(page, 'megatron')
      const map = heatMap(page)
      for (const [row, layer] of [3, 7].entries())
        for (const expert of [0, 1, 2, 3]) {
          await map.press('Home')
          await map.press(row === 0 ? 'ArrowUp' : 'ArrowDown')
          for (let moved = 0; moved < expert; moved++) await map.press('ArrowRight')
          const expected = traced.filter((each) => each.layer === layer && each.expert === expert).length
          await expect
            .poll(async () => (await readOut(map)).text, soon)
            .toMatch(new RegExp(`layer ${layer}.*expert ${expert}:`))
          expect((await readOut(map)).tokens).toBe(expected)
        }
    }))
})

const routingOf = (workspace: Workspace, run: string, step: number, layer: number): RoutingRecord => {
  const lines = readFileSync(workspace.file('runs', run, 'routing.jsonl'), 'utf8')
    .trim()
    .split('\n')
  const found = lines
    .map((line): RoutingRecord => JSON.parse(line))
    .find((record) => record.step === step && record.layer === layer)
  if (!found) throw new Error(`no record of step ${step}`)
  return found
}
