/**
 * Measures the dashboard at sizes beyond normal use: 200 runs with a million lines of metrics, and one run of 48
 * layers with 128 experts and 10,000 snapshots of their loads. It measures the time to read them (beside a program
 * that only parses every line), the memory of server and page, and frame times in Chromium while the page is used.
 *
 *   npm run build && npx tsx bench/pages/dashboard.ts
 *   npx tsx bench/pages/dashboard.ts --runs 20 --lines 500 --snapshots 200       a short run
 */
import { createReadStream } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Command } from 'commander'
import type { Page } from 'playwright-core'
import { RunError } from '../../src/core/errors.ts'
import { bytes, fixed } from '../../src/core/text/numbers.ts'
import { numberOption, ranges } from '../../src/faces/cli/options.ts'
import type { Collection } from '../../src/faces/watch/api.ts'
import { findChromium, openChromium } from '../support/browser.ts'
import { runCommand, tableText } from '../support/command.ts'
import { resultFile, shownPath, thisMachine, writeJson } from '../support/results.ts'
import { makeRoutedRun, makeRuns } from '../support/synthetic-runs.ts'
import { startWatching } from '../support/watch-server.ts'

interface Flags {
  readonly runs: number
  readonly lines: number
  readonly layers: number
  readonly experts: number
  readonly snapshots: number
}

/** The parts of the browser's window that functions evaluated in the page use. */
interface Window {
  requestAnimationFrame(callback: (time: number) => void): void
  readonly performance: { readonly memory: { readonly usedJSHeapSize: number } }
  recording?: { on: boolean; readonly times: number[] }
}

/** Milliseconds between the frames of a page during an interaction. */
interface Frames {
  /** Name of the interaction. */
  readonly what: string
  readonly frames: number
  readonly median: number
  readonly p95: number
  readonly longest: number
}

interface Case {
  readonly name: string
  readonly fileBytes: number
  /** Seconds that the server needs to read all files, and that a loop of JSON.parse over all lines needs. */
  readonly readSeconds: number
  readonly parseSeconds: number
  readonly serverBytes: number
  /** Seconds from opening the page until the first canvas is drawn. */
  readonly shownSeconds: number
  /** JavaScript heap after garbage collection. */
  readonly pageBytes: number
  readonly frames: readonly Frames[]
}

/** The code is a string, since the compiler of this file would insert helpers that do not exist in the page. */
const startRecording = `{
  const recording = window.recording = { on: true, times: [] }
  requestAnimationFrame(function note(time) {
    recording.times.push(time)
    if (recording.on) requestAnimationFrame(note)
  })
}`

await runCommand(
  new Command('npx tsx bench/pages/dashboard.ts')
    .description('Measures choir watch with many runs and with a large one, in Chromium.')
    .addOption(numberOption('--runs <n>', 'number of runs', ranges.positiveInteger).default(200))
    .addOption(numberOption('--lines <n>', 'lines of metrics per run', ranges.positiveInteger).default(5000))
    .addOption(numberOption('--layers <n>', 'layers of the large run', ranges.positiveInteger).default(48))
    .addOption(numberOption('--experts <n>', 'experts per layer of the large run', ranges.positiveInteger).default(128))
    .addOption(numberOption('--snapshots <n>', 'snapshots of expert loads', ranges.positiveInteger).default(10_000))
    .action(measureAll),
)

async function measureAll(flags: Flags): Promise<void> {
  const executable = findChromium()
  if (executable === undefined) throw new RunError('Chromium not found (install it, or set CHOIR_CHROMIUM to its path)')
  const folder = await mkdtemp(join(tmpdir(), 'choir-dashboard-'))
  try {
    const [many, large] = [join(folder, 'many'), join(folder, 'large')]
    process.stderr.write('  writing the runs ...\n')
    await makeRuns(many, flags.runs, flags.lines)
    await makeRoutedRun(join(large, 'run'), flags)
    const { runs, lines, layers, experts, snapshots } = flags
    const cases = [
      await measure(executable, `${runs} runs × ${lines} lines`, many, '/', exerciseCurves),
      await measure(
        executable,
        `${layers} × ${experts} × ${snapshots} loads`,
        large,
        '/?page=experts',
        exerciseExperts,
      ),
    ]
    const isWhole = runs === 200 && snapshots === 10_000
    const file = resultFile('dashboard', !isWhole)
    await writeJson(file, { machine: thisMachine(), cases })
    process.stdout.write(`${report(cases)}\n  ${shownPath(file)}\n`)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function measure(
  executable: string,
  name: string,
  folder: string,
  path: string,
  exercise: (page: Page) => Promise<Frames[]>,
): Promise<Case> {
  process.stderr.write(`  ${name} ...\n`)
  const { seconds: parseSeconds, size: fileBytes } = await parseAll(folder)
  const server = await startWatching(folder)
  const browser = await openChromium(executable)
  try {
    const { address, pid } = server
    const start = performance.now()
    while (!(await allRead(address))) await new Promise((resolve) => setTimeout(resolve, 50))
    const readSeconds = (performance.now() - start) / 1000
    const page = await browser.newPage({ viewport: { width: 1400, height: 900 } })
    const opened = performance.now()
    await page.goto(new URL(path, address).href)
    await page.locator('canvas').first().waitFor()
    await page.evaluate(() => {
      const window = globalThis as unknown as Window
      return new Promise((resolve) => window.requestAnimationFrame(() => window.requestAnimationFrame(resolve)))
    })
    const shownSeconds = (performance.now() - opened) / 1000
    const frames = await exercise(page)
    await (await page.context().newCDPSession(page)).send('HeapProfiler.collectGarbage')
    const pageBytes = await page.evaluate(() => (globalThis as unknown as Window).performance.memory.usedJSHeapSize)
    const serverBytes = await residentBytes(pid)
    return { name, fileBytes, readSeconds, parseSeconds, serverBytes, shownSeconds, pageBytes, frames }
  } finally {
    await browser.close()
    await server.stop()
  }
}

async function allRead(address: string): Promise<boolean> {
  const { progress, runs } = (await (await fetch(new URL('/api/collection', address))).json()) as Collection
  return progress === null && runs.length > 0 && runs.every(({ reading }) => !reading)
}

/** Times the minimum work of any reader of these files that skips no lines. */
async function parseAll(folder: string): Promise<{ seconds: number; size: number }> {
  const names = await readdir(folder, { recursive: true })
  const files = names.filter((name) => name.endsWith('.jsonl')).map((name) => join(folder, name))
  // A first pass puts the files into the page cache, where both readers then find them.
  for (const file of files) for await (const _ of createReadStream(file));
  const start = performance.now()
  let size = 0
  for (const file of files) {
    size += (await stat(file)).size
    for await (const line of createInterface({ input: createReadStream(file) })) JSON.parse(line)
  }
  return { seconds: (performance.now() - start) / 1000, size }
}

async function residentBytes(pid: number): Promise<number> {
  // The result is NaN without /proc.
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) * 1024
}

async function exerciseCurves(page: Page): Promise<Frames[]> {
  await page.waitForLoadState('networkidle').catch(() => undefined)
  const plot = page.locator('.plot canvas').first()
  const box = await plot.boundingBox()
  if (!box) throw new RunError('no curve was drawn')
  const at = (share: number) => [box.x + box.width * share, box.y + box.height / 2] as const
  return [
    await recordFrames(page, 'cursor over a curve', async () => {
      for (let i = 0; i <= 100; i++) await page.mouse.move(...at(0.2 + 0.006 * i))
    }),
    await recordFrames(page, 'scrolling the curves', async () => {
      await page.mouse.move(...at(0.5))
      for (let i = 0; i < 60; i++) await page.mouse.wheel(0, i < 30 ? 60 : -60)
    }),
    await recordFrames(page, 'scrolling the table of runs', async () => {
      await page.mouse.move(200, 500)
      for (let i = 0; i < 60; i++) await page.mouse.wheel(0, i < 30 ? 90 : -90)
    }),
    await recordFrames(page, 'zooming in, and back', async () => {
      await page.mouse.move(...at(0.4))
      await page.mouse.down()
      for (let i = 0; i <= 20; i++) await page.mouse.move(...at(0.4 + 0.01 * i))
      await page.mouse.up()
      await page.waitForTimeout(1500)
      await page.mouse.dblclick(...at(0.5))
      await page.waitForTimeout(1500)
    }),
  ]
}

async function exerciseExperts(page: Page): Promise<Frames[]> {
  await page.getByRole('slider', { name: 'Snapshot' }).waitFor()
  await page.waitForTimeout(1000)
  const speeds = page.locator('.scrubber-speed select')
  await speeds.selectOption({ index: (await speeds.locator('option').count()) - 1 })
  const played = await recordFrames(page, 'playing at full speed', async () => {
    await page.getByLabel('Play (space)').click()
    await page.waitForTimeout(5000)
    await page.getByLabel('Pause (space)').click()
  })
  const scrubbed = await recordFrames(page, 'scrubbing', async () => {
    const box = await page.getByRole('slider', { name: 'Snapshot' }).boundingBox()
    if (!box) throw new RunError('no scrubber')
    await page.mouse.move(box.x + 10, box.y + box.height / 2)
    await page.mouse.down()
    for (let i = 0; i <= 100; i++)
      await page.mouse.move(box.x + 10 + (i / 100) * (box.width - 20), box.y + box.height / 2)
    await page.mouse.up()
    await page.waitForTimeout(500)
  })
  const otherLayer = await recordFrames(page, 'to another layer', async () => {
    await page.getByRole('combobox', { name: 'Layer' }).selectOption('1')
    await page.waitForTimeout(2000)
  })
  return [played, scrubbed, otherLayer]
}

/** Records the frames of a page while `act` runs. */
async function recordFrames(page: Page, what: string, act: () => Promise<void>): Promise<Frames> {
  await page.evaluate(startRecording)
  await act()
  const times = await page.evaluate(() => {
    const { recording } = globalThis as unknown as Window
    if (recording) recording.on = false
    return recording?.times ?? []
  })
  const gaps = times.slice(1).map((time, i) => time - (times[i] as number))
  const sorted = gaps.toSorted((a, b) => a - b)
  const share = (of: number) => sorted[Math.min(sorted.length - 1, Math.floor(of * sorted.length))] ?? Number.NaN
  return { what, frames: gaps.length, median: share(0.5), p95: share(0.95), longest: share(1) }
}

function report(cases: readonly Case[]): string {
  const reading = cases.map((each) => [
    each.name,
    bytes(each.fileBytes),
    `${fixed(each.readSeconds, 1)} s`,
    `${fixed(each.readSeconds / each.parseSeconds, 2)} ×`,
    bytes(each.serverBytes),
    `${fixed(each.shownSeconds, 1)} s`,
    bytes(each.pageBytes),
  ])
  const frames = cases.flatMap((each) =>
    each.frames.map(({ what, frames, median, p95, longest }) => [
      each.name,
      what,
      String(frames),
      ...[median, p95, longest].map((ms) => `${fixed(ms, 0)} ms`),
    ]),
  )
  const head = ['files', 'size', 'read', 'over parsing', 'server memory', 'page shown', 'page memory']
  return (
    tableText([head, ...reading], 'lrrrrrr') +
    tableText([['files', 'during', 'frames', 'median', '95 %', 'longest'], ...frames], 'llrrrr')
  )
}
