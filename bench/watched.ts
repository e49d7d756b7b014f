/**
 * What it costs a training to be looked at: the same training alone, with `choir watch` on its folder, and with a page
 * of it open in Chromium beside, in turns.
 *
 *   npm run build && npx tsx bench/watched.ts
 *   npx tsx bench/watched.ts --steps 60 --turns 1       a small try
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Command } from 'commander'
import { numberOption, ranges } from '../src/cli/options.ts'
import { RunError } from '../src/errors.ts'
import { median } from '../src/step/statistics.ts'
import { fixed } from '../src/text/numbers.ts'
import { findChromium, openChromium } from './support/browser.ts'
import { runCommand, tableText, turnsOption } from './support/command.ts'
import { fileIn, resultFile, shownPath, thisMachine, writeJson } from './support/results.ts'
import { startWatching } from './support/watch-server.ts'

const sides = ['alone', 'server', 'curves', 'experts'] as const
type Side = (typeof sides)[number]

const titles: Readonly<Record<Side, string>> = {
  alone: 'nothing',
  server: 'choir watch, no page',
  curves: 'a page with its curves',
  experts: 'a page with its experts',
}

/** Steps at the start that do not count: memory is still being taken, the page opened. */
const WARM_UP_STEPS = 30

interface Flags {
  readonly steps: number
  readonly turns: number
}

await runCommand(
  new Command('npx tsx bench/watched.ts')
    .description('Measures what a training loses while it is watched.')
    .addOption(
      numberOption(
        '--steps <n>',
        `of each training, ${WARM_UP_STEPS} of which do not count`,
        ranges.positiveInteger,
      ).default(200),
    )
    .addOption(turnsOption())
    .action(measureAll),
)

async function measureAll({ steps, turns }: Flags): Promise<void> {
  const executable = findChromium()
  if (executable === undefined) throw new RunError('no Chromium was found (install one, or set CHOIR_CHROMIUM)')
  const folder = await mkdtemp(join(tmpdir(), 'choir-watched-'))
  const times: Record<Side, number[]> = { alone: [], server: [], curves: [], experts: [] }
  try {
    for (let turn = 0; turn < turns; turn++) {
      // Each side is first once: what drifts counts against all alike.
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
  process.stdout.write(`${tableText([['beside the training', 'step', 'of alone', 'range'], ...text], 'lrrr')}\n`)
  process.stdout.write(`  ${shownPath(file)}\n`)
}

/** Does something while a folder is looked at. */
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

/** Milliseconds of a step of `demo`, the median of those that count. */
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
