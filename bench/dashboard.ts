/**
 * The dashboard with more than anyone has: 200 runs with a million lines of metrics, and a run of 48 layers with 128
 * experts and 10,000 snapshots of their loads. How long reading takes beside a program that only parses every line,
 * what the server and the page hold in memory, and how long a frame takes in a real Chromium while somebody looks.
 *
 *   npm run build && npx tsx bench/dashboard.ts
 *   npx tsx bench/dashboard.ts --runs 20 --lines 500 --snapshots 200       a small try
 */
import { createReadStream } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Command } from 'commander'
import type { Page } from 'playwright-core'
import { numberOption, ranges } from '../src/cli/options.ts'
import { RunError } from '../src/errors.ts'
import { bytes, fixed } from '../src/text/numbers.ts'
import type { Collection } from '../src/watch/api.ts'
import { findChromium, openChromium } from './support/browser.ts'
import { runCommand, tableText } from './support/command.ts'
import { makeRoutedRun, makeRuns } from './support/made-runs.ts'
import { resultFile, shownPath, thisMachine, writeJson } from './support/results.ts'
import { startWatching } from './support/watch-server.ts'

interface Flags {
  readonly runs: number
  readonly lines: number
  readonly layers: number
  readonly experts: number
  readonly snapshots: number
}

/** What is used of a browser's window, by functions that run there. */
interface Window {
  requestAnimationFrame(callback: (time: number) => void): void
  readonly performance: { readonly memory: { readonly usedJSHeapSize: number } }
  recording?: { on: boolean; readonly times: number[] }
}

/** Milliseconds between the frames of a page while something was done, and the longest time it answered nobody. */
interface Frames {
  readonly what: string
  readonly frames: number
  readonly median: number
  readonly p95: number
  readonly longest: number
}

interface Case {
  readonly name: string
  readonly fileBytes: number
  /** Seconds until the server had read all, and until a loop of JSON.parse over all lines had. */
  readonly readSeconds: number
  readonly parseSeconds: number
  readonly serverBytes: number
  /** Seconds from opening the page until something was drawn. */
  readonly shownSeconds: number
  /** Of JavaScript, without garbage. */
  readonly pageBytes: number
  readonly frames: readonly Frames[]
}

/** As text, since what compiles this file would put names into it that the page does not know. */
const startRecording = `{
  const recording = window.recording = { on: true, times: [] }
  requestAnimationFrame(function note(time) {
    recording.times.push(time)
    if (recording.on) requestAnimationFrame(note)
  })
}`

await runCommand(
  new Command('npx tsx bench/dashboard.ts')
    .description('Measures choir watch with many runs and with a large one, in Chromium.')
    .addOption(numberOption('--runs <n>', 'runs', ranges.positiveInteger).default(200))
    .addOption(numberOption('--lines <n>', 'lines of metrics of each', ranges.positiveInteger).default(5000))
    .addOption(numberOption('--layers <n>', 'layers of the large run', ranges.positiveInteger).default(48))
    .addOption(numberOption('--experts <n>', 'experts of each layer', ranges.positiveInteger).default(128))
    .addOption(numberOption('--snapshots <n>', 'snapshots of their loads', ranges.positiveInteger).default(10_000))
    .action(measureAll),
)

async function measureAll(flags: Flags): Promise<void> {
  const executable = findChromium()
  if (executable === undefined) throw new RunError('no Chromium was found (install one, or set CHOIR_CHROMIUM)')
  const folder = await mkdtemp(join(tmpdir(), 'choir-dashboard-'))
  try {
    const [many, large] = [join(folder, 'many'), join(folder, 'large')]
    process.stderr.write('  making the files ...\n')
    await makeRuns(many, flags.runs, flags.lines)
    await makeRoutedRun(join(large, 'run'), flags)
    const { runs, lines, layers, experts, snapshots } = flags
    const cases = [
      await measure(executable, `${runs} runs × ${lines} lines`, many, '/', lookAtCurves),
      await measure(executable, `${layers} × ${experts} × ${snapshots} loads`, large, '/?page=experts', lookAtExperts),
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
  look: (page: Page) => Promise<Frames[]>,
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
    const frames = await look(page)
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

/** What no reader of these files can do without, unless it leaves lines out. */
async function parseAll(folder: string): Promise<{ seconds: number; size: number }> {
  const names = await readdir(folder, { recursive: true })
  const files = names.filter((name) => name.endsWith('.jsonl')).map((name) => join(folder, name))
  // Once before, so that both readers find the files in the memory of the system.
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
  // Where there is no /proc nobody says.
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) * 1024
}

async function lookAtCurves(page: Page): Promise<Frames[]> {
  await page.waitForLoadState('networkidle').catch(() => undefined)
  const plot = page.locator('.plot canvas').first()
  const box = await plot.boundingBox()
  if (!box) throw new RunError('no curve was drawn')
  const at = (share: number) => [box.x + box.width * share, box.y + box.height / 2] as const
  return [
    await framesOf(page, 'cursor over a curve', async () => {
      for (let i = 0; i <= 100; i++) await page.mouse.move(...at(0.2 + 0.006 * i))
    }),
    await framesOf(page, 'scrolling the curves', async () => {
      await page.mouse.move(...at(0.5))
      for (let i = 0; i < 60; i++) await page.mouse.wheel(0, i < 30 ? 60 : -60)
    }),
    await framesOf(page, 'scrolling the table of runs', async () => {
      await page.mouse.move(200, 500)
      for (let i = 0; i < 60; i++) await page.mouse.wheel(0, i < 30 ? 90 : -90)
    }),
    await framesOf(page, 'zooming in, and back', async () => {
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

async function lookAtExperts(page: Page): Promise<Frames[]> {
  await page.getByRole('slider', { name: 'Snapshot' }).waitFor()
  await page.waitForTimeout(1000)
  const speeds = page.locator('.scrubber-speed select')
  await speeds.selectOption({ index: (await speeds.locator('option').count()) - 1 })
  const played = await framesOf(page, 'playing at full speed', async () => {
    await page.getByLabel('Play (space)').click()
    await page.waitForTimeout(5000)
    await page.getByLabel('Pause (space)').click()
  })
  const scrubbed = await framesOf(page, 'scrubbing', async () => {
    const box = await page.getByRole('slider', { name: 'Snapshot' }).boundingBox()
    if (!box) throw new RunError('no scrubber')
    await page.mouse.move(box.x + 10, box.y + box.height / 2)
    await page.mouse.down()
    for (let i = 0; i <= 100; i++)
      await page.mouse.move(box.x + 10 + (i / 100) * (box.width - 20), box.y + box.height / 2)
    await page.mouse.up()
    await page.waitForTimeout(500)
  })
  const overTime = await framesOf(page, 'to experts over time', async () => {
    await page.getByLabel('Experts over time').check()
    await page.waitForTimeout(2000)
  })
  return [played, scrubbed, overTime]
}

/** Records the frames of a page while `act` goes on. */
async function framesOf(page: Page, what: string, act: () => Promise<void>): Promise<Frames> {
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
  const head = ['files', 'size', 'read', 'of parsing all', 'server memory', 'page shown', 'page memory']
  return (
    tableText([head, ...reading], 'lrrrrrr') +
    tableText([['files', 'while', 'frames', 'median', '95 %', 'longest'], ...frames], 'llrrrr')
  )
}
