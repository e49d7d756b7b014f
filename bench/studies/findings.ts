/**
 * Draws the pictures of README.md and docs/findings.md from the results in docs/results: the claims with their effects,
 * and the map. Run it after these results have changed; a test compares the committed files with it.
 *
 *   npx tsx bench/studies/findings.ts
 */
import { writeFile } from 'node:fs/promises'
import { Command } from 'commander'
import { runCommand } from '../support/command.ts'
import { fileIn } from '../support/results.ts'
import { findingsInResults, picturesOf } from './findings/pictures.ts'

await runCommand(
  new Command('npx tsx bench/studies/findings.ts')
    .description('Draws docs/pictures/{claims,map}.svg and their narrow forms from the results in docs/results.')
    .action(async () => {
      for (const { file, svg } of picturesOf(await findingsInResults())) {
        await writeFile(fileIn(file), svg)
        process.stdout.write(`  ${file}\n`)
      }
    }),
)
