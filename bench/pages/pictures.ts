/**
 * Makes the pictures of README.md and docs: trains the runs that they show, opens the pages in Chromium, and takes
 * screenshots. The page of `choir play` trains in Chromium itself, by SwiftShader where there is no GPU; the picture has
 * the name of the device.
 *
 *   npm run build && npx tsx bench/pages/pictures.ts
 *   npx tsx bench/pages/pictures.ts --only play --out /tmp       one of them, elsewhere
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import type { Browser, Page } from 'playwright-core'
import { RunError } from '../../src/core/errors.ts'
import { makeFolder } from '../../src/node/system/disk.ts'
import { findChromium, openChromium, openChromiumWithGpu } from '../support/browser.ts'
import { runCommand } from '../support/command.ts'
import { fileIn, shownPath } from '../support/results.ts'
import { type ShownRun, shownRuns, trainShownRun } from '../support/shown-runs.ts'
import { startPlaying, startWatching, type WatchServer } from '../support/watch-server.ts'

/** Longest wait for something on a page, which trains on the processor in the picture of `choir play`. */
const PATIENCE_MS = 3_600_000
/** Steps of both trainings in the picture of `choir play`. */
const PLAY_STEPS = 300

interface Picture {
  readonly size: { readonly width: number; readonly height: number }
  readonly dark?: boolean
  /** Query of the address on the dashboard; null for the page of `choir play`. */
  readonly query: string | null
  /** Brings the page into the state that the picture shows. */
  readonly prepare: (page: Page) => Promise<void>
}

const pictures: Readonly<Record<string, Picture>> = {
  'dashboard-curves': {
    size: { width: 1440, height: 900 },
    query: '',
    async prepare(page) {
      const card = page.locator('article[data-metric="eval/loss"]')
      const box = await card.locator('.u-over').boundingBox()
      if (!box) throw new RunError('the page shows no curve of eval/loss')
      await page.mouse.move(box.x + 0.45 * box.width, box.y + 0.6 * box.height)
      await page.locator('.tip').waitFor()
    },
  },
  'dashboard-experts': {
    size: { width: 1440, height: 900 },
    dark: true,
    query: 'page=experts&router=1',
    async prepare(page) {
      await page.getByRole('combobox', { name: 'Run', exact: true }).selectOption('no-balancing')
      await page.getByRole('combobox', { name: 'Layer' }).selectOption('1')
      await page.getByText('Dead experts').waitFor()
      // The warnings above have scrolled away: both maps are in the picture.
      await page
        .getByRole('slider', { name: 'Snapshot' })
        .evaluate((slider) => slider.scrollIntoView({ block: 'start' }))
    },
  },
  play: {
    size: { width: 1400, height: 1150 },
    query: null,
    async prepare(page) {
      await page.getByLabel('Steps').fill(String(PLAY_STEPS))
      await page.getByLabel('Steps').press('Tab')
      await page.getByText('Prototypes: k top-1').click()
      const lesson = page.locator('details', { hasText: 'Prototypes: k top-1' })
      await lesson.getByRole('button', { name: 'Try it' }).click()
      for (const side of ['A', 'B'])
        await page.locator(`[data-side="${side}"][data-phase="finished"]`).waitFor({ timeout: PATIENCE_MS })
      await page.getByRole('radio', { name: 'Experts over time' }).check()
      await page.getByRole('radio', { name: 'Prototype' }).check()
    },
  },
}

interface Flags {
  readonly only?: readonly string[]
  readonly out: string
}

await runCommand(
  new Command('npx tsx bench/pages/pictures.ts')
    .description('Makes the pictures of README.md and docs, from trainings on this machine.')
    .addOption(new Option('--only <pictures...>', 'make only these pictures').choices(Object.keys(pictures)))
    .option('--out <folder>', 'folder of the pictures', fileIn('docs/pictures'))
    .action(make),
)

async function make({ only, out }: Flags): Promise<void> {
  const executable = findChromium()
  if (executable === undefined) throw new RunError('Chromium not found (install it, or set CHOIR_CHROMIUM to its path)')
  const chosen = Object.entries(pictures).filter(([name]) => only === undefined || only.includes(name))
  await makeFolder(out)
  const ofRuns = chosen.filter(([, { query }]) => query !== null)
  const ofPlay = chosen.filter(([, { query }]) => query === null)
  if (ofRuns.length > 0) {
    const folder = await mkdtemp(join(tmpdir(), 'choir-pictures-'))
    try {
      for (const name of Object.keys(shownRuns) as ShownRun[]) await trainShownRun(name, join(folder, name))
      await taking(ofRuns, out, await startWatching(folder), await openChromium(executable))
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
  if (ofPlay.length > 0) await taking(ofPlay, out, await startPlaying(), await openChromiumWithGpu(executable))
}

/** Takes pictures of a server's pages, then ends the server and the browser. */
async function taking(
  chosen: readonly (readonly [name: string, picture: Picture])[],
  out: string,
  server: WatchServer,
  browser: Browser,
): Promise<void> {
  try {
    for (const [name, { size, dark, query, prepare }] of chosen) {
      process.stderr.write(`  taking ${name} ...\n`)
      const page = await browser.newPage({ viewport: size, colorScheme: dark ? 'dark' : 'light' })
      await page.goto(`${server.address}${query ? `?${query}` : ''}`)
      await prepare(page)
      // Curves are painted in a worker, and heat maps after the layout.
      await page.waitForTimeout(1000)
      const path = join(out, `${name}.png`)
      await page.screenshot({ path })
      process.stdout.write(`${shownPath(path)}\n`)
      await page.close()
    }
  } finally {
    await browser.close()
    await server.stop()
  }
}
