/**
 * The example page that trains in a worker: bundled, type-checked, and used in Chromium. Needs a build.
 *
 * @slow
 */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { unzipRun } from '../../src/faces/browser/run-files.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { bundle, entries, executable, inRepository, openBrowser, type Site, serve, smallConfig } from './web-site.ts'

const { make } = temporaryFolder()
const example = inRepository('examples/web-training')
const folder = make()
beforeAll(() => bundle(example, folder), 120_000)

test('the bundle needs no module of Node', () => {
  const files = readdirSync(join(folder, 'assets'))
  const scripts = files.filter((name) => name.endsWith('.js'))
  expect(scripts.length).toBe(2)
  // A path that is put together from the address of a module makes Vite copy whatever it may name.
  expect(files.filter((name) => !/\.(?:js|css)$/.test(name))).toEqual([])
  for (const name of scripts) {
    const script = readFileSync(join(folder, 'assets', name), 'utf8')
    // Vite leaves a stub in place of a module of Node.
    expect(script.match(/__vite-browser-external|["'`]node:\w+|\brequire\(/g), name).toBeNull()
    expect(script.match(/\bBuffer\.(?:from|alloc|concat)|\bprocess\.(?:env|platform|cwd)/g), name).toBeNull()
  }
})

test('the types are complete: a strict project compiles without the types of Node and of WebGPU', async () => {
  const paths = Object.entries(entries).map(([name, path]) => [name, [path.replace(/\.js$/, '.d.ts')]])
  const project = join(make(), 'tsconfig.json')
  const settings = {
    extends: join(example, 'tsconfig.json'),
    compilerOptions: { types: [], paths: Object.fromEntries(paths) },
    include: [join(example, '*.ts')],
  }
  writeFileSync(project, JSON.stringify(settings))
  const compiler = inRepository('node_modules/typescript/bin/tsc')
  const output = await promisify(execFile)(process.execPath, [compiler, '-p', project]).catch((error) => error)
  expect(output.stdout).toBe('')
}, 60_000)

describe.skipIf(!executable)('in Chromium', () => {
  let site: Site
  let browser: Browser
  let context: BrowserContext
  const problems: string[] = []
  beforeAll(async () => {
    site = await serve(folder)
    browser = await openBrowser()
    // All pages share one context, which has the storage of one visitor.
    context = await browser.newContext()
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    site?.close()
  })

  async function visit(): Promise<Page> {
    const page = await context.newPage()
    page.on('pageerror', (error) => problems.push(error.message))
    await page.goto(site.address)
    return page
  }

  const statusOf = (page: Page) =>
    expect.poll(() => page.locator('#status').textContent(), { timeout: 200_000, interval: 200 })

  test('the loss falls, and the page writes text and exports the run as a run directory', async () => {
    const page = await visit()
    await page.fill('#config', JSON.stringify(smallConfig))
    await page.click('#train')
    await statusOf(page).toMatch(/^trained 20 steps/)
    const points = ((await page.getAttribute('#curve', 'points')) ?? '').split(' ')
    const losses = points.map((point) => 100 - Number(point.split(',')[1]))
    expect(losses.length).toBe(20)
    const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value) / values.length
    expect(mean(losses.slice(-5))).toBeLessThan(0.8 * mean(losses.slice(0, 5)))

    await page.click('#write')
    await expect.poll(async () => (await page.textContent('#written'))?.length, { timeout: 60_000 }).toBeGreaterThan(5)
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#export')])
    const files = unzipRun(new Uint8Array(readFileSync(await download.path())))
    expect([...files.keys()]).toEqual(
      expect.arrayContaining(['config.json', 'text/page.txt', 'checkpoints/step-00000020/SHA256SUMS']),
    )
    expect(problems).toEqual([])
    await page.close()
  }, 240_000)

  test('a page that is closed while it trains goes on from its last checkpoint', async () => {
    const page = await visit()
    await page.fill('#config', JSON.stringify({ ...smallConfig, train: { ...smallConfig.train, steps: 100_000 } }))
    await page.click('#train')
    await statusOf(page).toMatch(/^step (?:[6-9]|\d\d+),/)
    await page.close()
    const again = await visit()
    await again.click('#resume')
    await statusOf(again).toMatch(/^step \d+,/)
    const steps = ((await again.getAttribute('#curve', 'points')) ?? '').split(' ').length
    expect(steps).toBeGreaterThan(5)
    expect(problems).toEqual([])
    await again.close()
  }, 240_000)
})
