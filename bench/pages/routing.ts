/**
 * Records the routing of four trained runs into docs/results/routing.json, which the front page of the site replays, and
 * draws the figure of docs/routing.md from it.
 *
 *   npm run build && npx tsx bench/pages/routing.ts
 *   npx tsx bench/pages/routing.ts --draw                 only draws, from the recorded runs
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { runCommand } from '../support/command.ts'
import { fileIn, shownPath, writeJson } from '../support/results.ts'
import { type ShownRun, shownRuns, trainShownRun } from '../support/shown-runs.ts'
import { routingPictures } from './routing/pictures.ts'
import { type RecordedRun, recordFile, recordRun, routingRecord } from './routing/record.ts'

await runCommand(
  new Command('npx tsx bench/pages/routing.ts')
    .description('Records the routing of four trained runs, and draws docs/pictures/routing.svg from it.')
    .option('--draw', 'only draw, from the recorded runs')
    .action(async ({ draw }: { readonly draw?: true }) => {
      if (!draw) await record()
      for (const { file, svg } of routingPictures(await routingRecord())) {
        await writeFile(fileIn(file), svg)
        process.stdout.write(`  ${file}\n`)
      }
    }),
)

async function record(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'choir-routing-'))
  try {
    const runs: Partial<Record<ShownRun, RecordedRun>> = {}
    for (const name of Object.keys(shownRuns) as ShownRun[]) {
      await trainShownRun(name, join(folder, name))
      runs[name] = await recordRun(join(folder, name), join(folder, `${name}.html`))
    }
    await writeJson(recordFile, { command: 'npx tsx bench/pages/routing.ts', runs })
    process.stdout.write(`  ${shownPath(recordFile)}\n`)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
