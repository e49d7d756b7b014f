/**
 * Measures how much the dashboard slows a training. The same training runs alone, with `choir watch` on its folder, and
 * with a page of the dashboard open in Chromium, in turns.
 *
 *   npm run build && npx tsx bench/pages/watch-overhead.ts
 *   npx tsx bench/pages/watch-overhead.ts --steps 60 --turns 1       a short run
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Command } from 'commander'
import { median } from '../../src/core/averages.ts'
import { RunError } from '../../src/core/errors.ts'
import { fixed } from '../../src/core/text/numbers.ts'
import { numberOption, ranges } from '../../src/faces/cli/options.ts'
import { findChromium, openChromium } from '../support/browser.ts'
import { runCommand, tableText, turnsOption } from '../support/command.ts'
import { fileIn, resultFile, shownPath, thisMachine, writeJson } from '../support/results.ts'
import { startWatching } from '../support/watch-server.ts'

const sides = ['alone', 'server', 'curves', 'experts'] as const
type Side = (typeof sides)[number]

const titles: Readonly<Record<Side, string>> = {
  alone: 'nothing',
  server: 'choir watch, no page',
  curves: 'a page with its curves',
  experts: 'a page with its experts',
}

/** Number of steps at the start that are not counted, while memory is allocated and the page opens. */
const WARM_UP_STEPS = 30

interface Flags {
  readonly steps: number
  readonly turns: number
}

await runCommand(
  new Command('npx tsx bench/pages/watch-overhead.ts')
    .description('Measures how much a training slows down while the dashboard shows it.')
    .addOption(
      numberOption('--steps <n>', `steps to time, after ${WARM_UP_STEPS} others`, ranges.positiveInteger).default(200),
    )
    .addOption(turnsOption())
    .action(measureAll),
)

async function measureAll({ steps, turns }: Flags): Promise<void> {
  const executable = findChromium()
  if (executable === undefined) throw new RunError('Chromium not found (install it, or set CHOIR_CHROMIUM to its path)')
  const folder = await mkdtemp(join(tmpdir(), 'choir-watched-'))
  const times: Record<Side, number[]> = { alone: [], server: [], curves: [], experts: [] }
  try {
    for (let turn = 0; turn < turns; turn++) {
      // Rotates the order, so that a drift of the machine affects all sides equally.
      for (const side of sides.map((_, place) => sides[(turn + place) % sides.length] as Side)) {
        process.stderr.write(`  turn ${turn + 1} of ${turns}: ${titles[side]} ...\n`)
        const runs = join(folder, `${turn}-${side}`)
        times[side].push(await watched(side, runs, executable, () => trainingStep(join(runs, 'run'), steps)))
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  const rows = sides.map((side) => {
    const ratios = times[side].map((ms, turn) => ms / (times.alone[turn] as number))
    return { beside: titles[side], stepMs: median(times[side]), ratio: median(ratios), ratios }
  })
  const file = resultFile('watched', steps < 200)
  await writeJson(file, { machine: thisMachine(), steps, rows })
  const text = rows.map(({ beside, stepMs, ratio, ratios }) => [
    beside,
    `${fixed(stepMs, 1)} ms`,
    `${fixed(ratio, 2)} ×`,
    `${fixed(Math.min(...ratios), 2)} to ${fixed(Math.max(...ratios), 2)}`,
  ])
  process.stdout.write(`${tableText([['beside the training', 'step', 'over alone', 'range'], ...text], 'lrrr')}\n`)
  process.stdout.write(`  ${shownPath(file)}\n`)
}

/** Runs `act` while the dashboard, or one page of it, shows a folder. */
async function watched<T>(side: Side, folder: string, executable: string, act: () => Promise<T>): Promise<T> {
  await mkdir(folder)
  if (side === 'alone') return await act()
  const server = await startWatching(folder)
  const browser = side === 'server' ? null : await openChromium(executable)
  try {
    if (browser) {
      const page = await browser.newPage({ viewport: { width: 1400, height: 900 } })
      await page.goto(new URL(`/?page=${side}`, server.address).href)
    }
    return await act()
  } finally {
    await browser?.close()
    await server.stop()
  }
}

/** Median time in ms of the counted steps of a `demo` training. */
async function trainingStep(folder: string, steps: number): Promise<number> {
  const sets = [`train.steps=${WARM_UP_STEPS + steps}`, 'train.routingEvery=5', 'train.evalEvery=100000']
  const args = ['train', 'demo', '--out', folder, '--json', ...sets.flatMap((set) => ['--set', set])]
  await promisify(execFile)(process.execPath, [fileIn('bin/choir.js'), ...args], { maxBuffer: 2 ** 28 })
  const lines = (await readFile(join(folder, 'metrics.jsonl'), 'utf8')).trimEnd().split('\n')
  const records = lines.map((line) => JSON.parse(line) as { kind: string; step: number; step_ms: number })
  return median(
    records.filter(({ kind, step }) => kind === 'train' && step > WARM_UP_STEPS).map(({ step_ms }) => step_ms),
  )
}
